"""Decisions about senders: what mail and commands ask for, and what follows."""
