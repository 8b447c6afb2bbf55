"""Mechanisms: everything that touches the kernel."""
