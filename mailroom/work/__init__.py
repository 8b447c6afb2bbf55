"""Clients and jobs: coroutines that read, ask the rules, and write."""
