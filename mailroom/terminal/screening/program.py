"""Runs the screen: keys, the service's answers and events, and the picture, on one loop.

No key waits for the service. The list of who waits is read at the start, when an event calls for
it, after a decision, and every few seconds if there are no events. If nobody answers, it tries
again until somebody does.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from mailroom.engine.loop import DeadlinePassed, Loop, Promise, within
from mailroom.errors import MailroomError
from mailroom.rules.words import count
from mailroom.terminal.remote import Refused
from mailroom.terminal.screening.board import Board
from mailroom.terminal.screening.display import Display
from mailroom.terminal.screening.keyboard import Keyboard, Wish
from mailroom.terminal.screening.keys import keys_of
from mailroom.terminal.screening.picture import Scene, draw
from mailroom.terminal.screening.service import Away, ServiceClient
from mailroom.terminal.screening.values import Choice, Move, Preview, WaitingChange
from mailroom.terminal.screening.window import Window

# So many decisions are sent at once: one poll carries out all that have come.
_AT_ONCE = 32
# With events there is no need to look, but one may get lost.
_LOOK_SECONDS, _LOOK_WITH_EVENTS_SECONDS = 3.0, 60.0
# Events come in bursts, and reading a long list takes time: leave time for keys in between.
_QUIET_SECONDS, _QUIET_TIMES = 0.2, 5.0
_AGAIN_SECONDS = 2.0
# A cursor that moves on sooner needs no preview.
_REST_SECONDS = 0.1
_MOST_PREVIEWS = 100
# Ages in minutes are off by half a minute at most.
_TICK_SECONDS = 30.0
# Events after which to ask again: they tell who waits, or that something may have been missed.
_NEWS = frozenset({"open", "waiting", "reload", "lost"})
_BROKEN_OFF = "the service went away before it answered; the list tells what was done"


class Program:
    """Runs until the user leaves."""

    def __init__(self, loop: Loop, service: ServiceClient, *, in_colour: bool) -> None:
        self.board = Board()
        self._loop = loop
        self._service = service
        self._keyboard = Keyboard(self.board)
        self._window = Window()
        self._display = Display(loop, self._on_keys, self.leave, in_colour=in_colour)
        self._categories: tuple[Choice, ...] = ()
        self._previews: OrderedDict[str, Preview | str] = OrderedDict()
        self._asked_for = ""
        self._to_send: deque[Move] = deque()
        self._sent = 0
        self._news: Promise[None] = Promise()
        self._has_events = False
        self._is_reading = False
        self._is_leaving = False
        self._is_drawing = False

    def run(self) -> None:
        """Take the terminal over, and give it back whatever happens."""
        for coroutine, name in ((self._keep_reading(), "reading"), (self._listen(), "events")):
            self._loop.spawn(coroutine, name)
        self._tick()
        self._display.start()
        try:
            self._loop.run()
        finally:
            self._display.stop()

    def leave(self) -> None:
        self._loop.stop()

    # Keys

    def _on_keys(self, keys: Sequence[str]) -> None:
        for key in keys:
            was_leaving, self._is_leaving = self._is_leaving, False
            match self._keyboard.press(key):
                case Wish.QUIT:
                    self._quit(at_once=was_leaving)
                case Wish.SUSPEND:
                    self._display.suspend()
                case Wish.REDRAW:
                    self._display.clear()
                case moves:
                    self._to_send.extend(moves)
        self._send()
        self._redraw()

    def _quit(self, *, at_once: bool) -> None:
        """Leave when all decisions are done; the second time, leave at once."""
        under_way = len(self.board.under_way)
        if at_once or not under_way:
            self.leave()
        self._is_leaving = True
        self.board.message = f"{count(under_way, 'decision')} under way; q again leaves at once"

    # Decisions

    def _send(self) -> None:
        while self._to_send and self._sent < _AT_ONCE:
            move = self._to_send.popleft()
            self._sent += 1
            self._loop.spawn(self._carry_out(move), "decision")

    async def _carry_out(self, move: Move) -> None:
        try:
            outcome = await self._service.triage(move.address, move.category)
        except Away:
            self.board.refuse(move, _BROKEN_OFF)
            self._look_again()
        except MailroomError as error:
            self.board.refuse(move, str(error))
        else:
            self.board.done(move, outcome)
        self._sent -= 1
        self._send()
        if not self._has_events:
            self._look_again()
        self._redraw()
        if self._is_leaving and not self.board.under_way:
            self.leave()

    # Who waits

    async def _keep_reading(self) -> None:
        while True:
            began = self._loop.now()
            self._news = Promise()
            await self._read()
            self._redraw()
            took = self._loop.now() - began
            quiet = max(_QUIET_SECONDS, took * _QUIET_TIMES)
            await self._loop.sleep_until(self._loop.now() + quiet)
            look = _LOOK_WITH_EVENTS_SECONDS if self._has_events else _LOOK_SECONDS
            await self._pause(_AGAIN_SECONDS if self.board.away else look)

    async def _read(self) -> None:
        number = self.board.begin_reading()
        self._is_reading = True
        try:
            if self.board.away or not self._categories:
                self._learn(await self._service.categories())
            self.board.read(number, await self._service.waiting())
        except MailroomError as error:
            self.board.away = f"{error}; trying again"
        finally:
            self._is_reading = False

    def _learn(self, names: Sequence[str]) -> None:
        keys = keys_of(names)
        self._categories = tuple(Choice(name, keys.get(name, "")) for name in names)
        self._keyboard.learn(self._categories)
        # A mail that could not be shown may work now.
        for mail in [mail for mail, shown in self._previews.items() if isinstance(shown, str)]:
            del self._previews[mail]

    async def _pause(self, seconds: float) -> None:
        """Until there is news, but no longer than this."""
        with suppress(DeadlinePassed):
            await within(self._loop, self._news, self._loop.now() + seconds)

    def _look_again(self) -> None:
        self._news.resolve(None)

    async def _listen(self) -> None:
        """Follow the events as long as the service runs; if it has no stream, retry rarely."""
        while True:
            pause = _AGAIN_SECONDS
            try:
                await self._service.follow(self._heard)
            except Refused:
                pause = _LOOK_WITH_EVENTS_SECONDS
            except MailroomError:
                pass  # _read reports the same
            self._has_events = False
            self._look_again()
            await self._loop.sleep_until(self._loop.now() + pause)

    def _heard(self, kind: str, change: WaitingChange | None) -> None:
        self._has_events = True
        if kind == "reload":
            self._categories = ()
        if change is not None and not self._is_reading and self.board.change(change):
            self._redraw()
        elif kind in _NEWS:
            self._look_again()

    # The mail under the cursor

    def _preview(self) -> Preview | str | None:
        """The preview if it is there; else it is fetched once the cursor rests."""
        sender = self.board.sender
        if sender is None:
            return None
        if sender.mail not in self._previews and self._asked_for != sender.mail:
            self._asked_for = sender.mail
            when = self._loop.now() + (_REST_SECONDS if self._previews else 0)
            self._loop.call_at(when, lambda: self._fetch(sender.mail))
        return self._previews.get(sender.mail)

    def _fetch(self, mail: str) -> None:
        if self._asked_for == mail:
            self._loop.spawn(self._fetched(mail), "preview")

    async def _fetched(self, mail: str) -> None:
        try:
            self._previews[mail] = await self._service.mail(mail)
        except MailroomError as error:
            self._previews[mail] = str(error)
        if len(self._previews) > _MOST_PREVIEWS:
            self._previews.popitem(last=False)
        if self._asked_for == mail:
            self._asked_for = ""
        self._redraw()

    # The picture

    def _tick(self) -> None:
        self._redraw()
        self._loop.call_at(self._loop.now() + _TICK_SECONDS, self._tick)

    def _redraw(self) -> None:
        """Draw once, after all that happens in this turn."""
        if not self._is_drawing:
            self._is_drawing = True
            self._loop.call_soon(self._draw)

    def _draw(self) -> None:
        self._is_drawing = False
        now = datetime.fromtimestamp(self._loop.clock.wall(), UTC)
        scene = Scene(
            self.board, self._keyboard, self._window, self._categories, self._preview(), now
        )
        self._display.draw(draw(scene, *self._display.size))
