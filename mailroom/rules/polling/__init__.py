"""When to poll, and what to do about the push stream."""
