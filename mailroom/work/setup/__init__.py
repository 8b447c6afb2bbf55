"""Jobs before and beside the service: setup, reset, checks, rules on the server."""
