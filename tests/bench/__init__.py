"""The figures of `make bench`: what Mailroom costs, measured, each beside its target."""
