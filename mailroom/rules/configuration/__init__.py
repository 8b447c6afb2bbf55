"""The configuration: its text, its checks, which report every problem at once, and its values."""
