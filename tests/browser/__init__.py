"""The page in Cockpit, in a real browser on a booted host: ``make test-browser``."""
