"""Conversations and jobs: coroutines that read, ask the rules, and write."""
