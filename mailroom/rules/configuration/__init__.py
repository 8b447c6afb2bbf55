"""The configuration: read, checked with every problem at once, and as values."""
