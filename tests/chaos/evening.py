"""An evening at the door while a server fails: mail comes in, one is moved, a domain is decided."""

from tests.world import Place

_FRIEND, _WRITTEN = "Dora <dora@friends.example>", "Gus <gus@written.example>"
_EVE, _HAL = "Eve <eve@strangers.example>", "Hal <hal@strangers.example>"
_SHOP, _ORDERS = "Shop <news@shop.example>", "Orders <orders@mail.shop.example>"
_CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:dora\r\nFN:Dora\r\nN:;Dora;;;\r\n"
    "EMAIL:dora@friends.example\r\nEND:VCARD\r\n"
)
# So that the requests of what was there are not within the same minute.
_LATER_SECONDS = 70.0
#: How long all of it takes where nothing fails.
EVENING_SECONDS = 80.0


class Evening:
    """The mails of one account; the door has been used there before.

    ``prepare`` is while all goes well; ``begin`` when it is not to go well any more.
    """

    def __init__(self, world: Place) -> None:
        self._world = world
        self._is_over = False
        self._gate = "Inbox" if world.config.screening.by == "mailroom" else "Screener"
        world.sandbox.put_card(_CARD, "dora.vcf")
        world.sandbox.send(_WRITTEN, "a question")

    def prepare(self) -> None:
        """Strangers' mail has come, and waits."""
        self._come(_HAL, _SHOP, _ORDERS)

    def begin(self) -> None:
        """Mail comes in, the mail of one is moved, and the domain of two is decided about; what
        comes a little later finds a service that may be in trouble."""
        world = self._world
        hals, shops, _ = world.mails[-3:]
        user = world.sandbox
        with user.lock:
            self._come(_FRIEND, _EVE, _WRITTEN)
            user.move(hals, "Feed")
            user.label(shops, "@ToJail")
            user.label(shops, "@WholeDomain")
        world.loop.call_at(world.clock.now() + _LATER_SECONDS, self.go_on)

    def go_on(self) -> None:
        """What comes later, if it has not come yet: the service may have ended before."""
        if not self._is_over:
            self._is_over = True
            self._come(_EVE, _ORDERS, _HAL, _FRIEND)

    def _come(self, *senders: str) -> None:
        world = self._world
        world.mails += [world.sandbox.deliver(each, mailbox=self._gate) for each in senders]
