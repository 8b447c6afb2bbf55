"""``mailroom demo``: the main job by the real service, on a mail server of the demo's own.

It checks everything that it shows. Nothing of the service imports it.
"""

import importlib.util

from mailroom.errors import MailroomError


def demo(stay: bool = False) -> int:
    """Run the demo: 0 when all that it shows has happened, 1 when not, 130 after Ctrl+C.

    ``stay``: leave everything running at the end, with a prompt to play at.
    Raises MailroomError where the demo cannot run.
    """
    if importlib.util.find_spec("radicale") is None:
        raise MailroomError(
            "the demo brings its own mail server, and that needs Radicale: "
            "apt-get install python3-radicale, or pip install radicale"
        )
    from mailroom.demo.play import play  # noqa: PLC0415 - not to be imported without Radicale

    return play(stay)
