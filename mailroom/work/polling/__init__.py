"""Polls: what a poll reads, does and tells."""
