"""``mailroom demo``: the main job by the real service, on a mail server of the demo's own.

It checks everything that it shows. Nothing of the service imports it.
"""

from importlib import metadata

from mailroom.errors import MailroomError

# The sandbox's address book stands on its storage interface.
_RADICALE = (3, 9)


def demo(stay: bool = False) -> int:
    """Run the demo: 0 when all that it shows has happened, 1 when not, 130 after Ctrl+C.

    ``stay``: leave everything running at the end, with a prompt to play at.
    Raises MailroomError where the demo cannot run.
    """
    if not _has_radicale():
        needed = ".".join(map(str, _RADICALE))
        raise MailroomError(
            f"the demo brings its own mail server, which needs Radicale {needed} or newer: "
            f"pip install 'Radicale>={needed}', or run make demo in a checkout of Mailroom"
        )
    from mailroom.demo.play import play  # noqa: PLC0415 - not to be imported without Radicale

    return play(stay)


def _has_radicale() -> bool:
    try:
        found = metadata.version("radicale")
    except metadata.PackageNotFoundError:
        return False
    major, minor, *_ = found.split(".")
    return (int(major), int(minor)) >= _RADICALE
