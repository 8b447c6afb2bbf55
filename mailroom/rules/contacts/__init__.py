"""Contacts and groups: what cards say, and what has to become of them."""
