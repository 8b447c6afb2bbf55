"""A household on the sandbox: from an empty account by configuration and ``setup --apply``."""

from typing import Any

from mailroom.engine.loop import Loop
from mailroom.work.setup.routing import Routing
from mailroom.work.setup.setup import Setup
from tests.command import Site
from tests.sandbox import Profile, Sandbox
from tests.sandbox.sieve import SieveSandbox
from tests.world import World

ADDRESS = "alice@example.org"


class _Mails:
    """What the day asks of a mail server besides."""

    def message_id_of(self, mail_id: str) -> str:
        mail = self.mail(mail_id)  # type: ignore[attr-defined]
        return str(mail.message_id)


class _WithRules(_Mails, SieveSandbox):
    """A server whose rules sort."""


class _WithoutRules(_Mails, Sandbox):
    """A server that puts all mail into Inbox."""


class Home(World):
    """A household's account with the service at work; ``by`` is who screens, ``contacts``
    the way to them."""

    def __init__(self, profile: Profile, by: str, contacts: str = "auto") -> None:
        given: dict[str, Any] = {
            "screening": {"by": by}, "triage": {"own_addresses": [ADDRESS]},
            "contacts": {"by": contacts},
        }  # fmt: skip
        site = Site(profile, given, _WithRules if by == "server" else _WithoutRules)
        self.clock = site.clock
        self.sandbox = site.sandbox
        context = site.context()
        context.run(Setup(context.loop, context.config, context.clients).apply(lambda _: None))
        if by == "server":
            context.run(Routing(context.loop, context.config, context.clients).apply())
        self.configure(given)
        self.loop = Loop(self.clock)
        self.events = []
        self.mails = []
        self.boot()

    def settle(self) -> None:
        """Until nothing is left to do; without push a poll takes a minute to come."""
        self.run_for(130.0)
