"""What people read in a terminal, one module per command, by rich.

The running service never imports this.
"""
