"""Decisions: values and a time in, values out. No socket, no clock, no environment, no logging."""
