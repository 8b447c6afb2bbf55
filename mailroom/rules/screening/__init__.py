"""New mail: who its sender is, where it goes, and server rules that do the same."""
