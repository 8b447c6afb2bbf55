"""Polls and push: what a poll reads, does and tells."""
