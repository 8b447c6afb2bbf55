"""``mailroom screen`` as it is used: a terminal that a test can read, and a service by script."""
