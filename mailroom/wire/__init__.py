"""Formats: bytes or JSON in, values out. No socket, no clock, no environment, no logging."""
