"""Mailroom: a mail screener as a small Unix service."""

__version__ = "0.1.0"
