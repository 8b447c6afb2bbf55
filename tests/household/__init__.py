"""A day of a household: who writes, what becomes of it, and what the user does about it."""
