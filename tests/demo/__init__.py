"""``make demo``: the main job by the real service, on a mail server of the demo's own.

It checks everything that it shows.
"""
