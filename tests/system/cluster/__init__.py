"""Three hosts with Pacemaker and a mail server: ``make test-cluster``."""
