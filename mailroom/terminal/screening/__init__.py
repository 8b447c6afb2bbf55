"""``mailroom screen``: who waits, on a full-screen terminal.

``board`` holds what is known and what was decided, ``keyboard`` says what a key does to it; both
only compute. ``picture`` lays the board out as lines, ``display`` puts these on the terminal with
urwid, ``service`` asks the running service, and ``program`` joins them on one loop.
"""
