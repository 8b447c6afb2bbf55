"""``mailroom screen``: who waits, as a screen of a terminal.

``board`` is what is known and what was decided, ``keyboard`` what a key does to it; both are plain
computing. ``picture`` lays it out as lines, ``display`` puts these on the terminal (urwid),
``service`` asks the running service, ``program`` joins them on one loop.
"""
