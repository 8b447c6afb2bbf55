"""Mailroom: a mail screener as a small Unix service."""

__version__ = "1.0.0"
