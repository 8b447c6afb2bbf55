"""What people read in a terminal, one module per command, mostly with rich.

The running service never imports this.
"""
