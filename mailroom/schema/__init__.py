"""JSON Schemas of the configuration and of the sockets' documents."""
