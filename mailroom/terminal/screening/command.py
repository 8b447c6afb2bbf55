"""``mailroom screen``: checks that there is a terminal and a service, then shows the screen."""

import os
import signal
from collections.abc import Mapping

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.loop import Loop
from mailroom.engine.transfer import Transfer
from mailroom.engine.unit import Installation
from mailroom.errors import MailroomError
from mailroom.terminal.remote import Remote, deciding_socket

_USER_AGENT = "mailroom-screen"
_INSTEAD = "`mailroom waiting` and `mailroom triage` work without"


def show_screen(asked: Installation, environ: Mapping[str, str]) -> int:
    """Show the screen of the installation's service, until the user leaves."""
    if not (os.isatty(0) and os.isatty(1)) or environ.get("TERM", "dumb") in ("", "dumb"):
        raise MailroomError(f"the screen needs a terminal that it can draw on; {_INSTEAD}")
    try:
        from mailroom.terminal.screening.display import has_colours  # noqa: PLC0415
        from mailroom.terminal.screening.program import Program  # noqa: PLC0415
        from mailroom.terminal.screening.service import ServiceClient  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "urwid":
            raise
        raise MailroomError(
            "the screen needs the library urwid, which is not installed: "
            f"apt install python3-urwid (or pip install urwid); {_INSTEAD}"
        ) from error
    # Errors about the service have to come before the screen takes the terminal over.
    Remote.of(asked).categories()
    loop = Loop(BoottimeClock())
    transfer = Transfer(loop, _USER_AGENT)
    socket = deciding_socket(asked.status_socket, asked.control_socket, asked.member)
    service = ServiceClient(transfer, socket, asked.member)
    program = Program(loop, service, in_colour=has_colours(environ))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.on_signal(number, program.leave)
    try:
        program.run()
    finally:
        transfer.close()
        loop.close()
    return 0
