"""HTTP and JMAP for one account: its credentials, its session, and limits on requests."""
