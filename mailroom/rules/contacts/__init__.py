"""Contacts and groups: what cards say, and how they have to change."""
