"""The service's status, as its sockets, systemd and Prometheus show it."""
