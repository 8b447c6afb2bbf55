"""``mailroom watch`` on a host with several services: follows all of them on one loop.

Shards come and go. A new one is followed from then on; one that has gone is waited for, and then
followed from its last event on.
"""

import os
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import NoReturn

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.loop import Loop
from mailroom.engine.transfer import Http, Transfer
from mailroom.engine.unit import Installation
from mailroom.errors import MailroomError
from mailroom.wire.http import Request
from mailroom.wire.sse import Event, Parser

_USER_AGENT = "mailroom-watch"
_AGAIN_SECONDS = 1.0

Here = Callable[[], Sequence[Installation]]


def follow_all(
    here: Here, tell: Callable[[Event], None], complain: Callable[[str], None]
) -> NoReturn:
    """Tell every event of all services that are ``here``, until interrupted. When one goes away,
    ``complain`` is called once."""
    loop = Loop(BoottimeClock())
    Following(loop, Transfer(loop, _USER_AGENT), here, tell, complain).look()
    loop.run()
    raise AssertionError("nobody stops this loop")


class Following:
    """One stream of each service that is here."""

    def __init__(
        self,
        loop: Loop,
        http: Http,
        here: Here,
        tell: Callable[[Event], None],
        complain: Callable[[str], None],
    ) -> None:
        self._loop, self._http = loop, http
        self._here, self._tell, self._complain = here, tell, complain
        self._heard: set[str] = set()
        self._last_event_ids: dict[str, str] = {}
        self._complained_of: set[str] = set()

    def look(self) -> None:
        """Follow those that are not followed yet, and look again every second."""
        for service in self._here():
            if (name := str(service.unit)) not in self._heard:
                self._heard.add(name)
                self._loop.spawn(self._follow(name, service), name)
        self._loop.call_at(self._loop.now() + _AGAIN_SECONDS, self.look)

    async def _follow(self, name: str, service: Installation) -> None:
        problem = "it has hung up; waiting for it"
        parser = Parser(self._last_event_ids.get(name, ""))
        try:
            await self._listen(name, service, parser)
        except MailroomError as error:
            problem = str(error)
        finally:
            self._last_event_ids[name] = parser.last_event_id
            self._heard.discard(name)
        if name not in self._complained_of:
            self._complained_of.add(name)
            self._complain(f"{name}: {problem}")

    async def _listen(self, name: str, service: Installation, parser: Parser) -> None:
        last = {"Last-Event-ID": parser.last_event_id} if parser.last_event_id else {}
        headers = {"Accept": "text/event-stream", **last}
        # The control socket also tells names and subjects, to those who may open it.
        control, status = service.control_socket, service.status_socket
        socket = control if os.access(control, os.W_OK, effective_ids=True) else status
        url = "http://mailroom/events"
        stream = self._http.stream(Request("GET", url, headers, unix_socket=str(socket)))
        try:
            head = await stream.head
            if head.status != HTTPStatus.OK:
                raise MailroomError(f"it sends no events (status {head.status})")
            self._complained_of.discard(name)
            while chunk := await stream.read():
                for event in parser.feed(chunk):
                    self._tell(event)
        finally:
            stream.close()
