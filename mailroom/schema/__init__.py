"""JSON Schemas of the configuration and of the status answers."""
