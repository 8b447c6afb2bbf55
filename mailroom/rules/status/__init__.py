"""How the service is, in the words of its sockets, of systemd and of Prometheus."""
