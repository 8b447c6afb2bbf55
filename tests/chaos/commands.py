"""Setup and reset as jobs that can be killed; what they do is tested in their own modules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mailroom.engine.loop import Loop
from tests.chaos.crash import Job, without_stamps
from tests.command import Site
from tests.sandbox import CYRUS_3_13, SMALL_LIMITS, STALWART, Sandbox
from tests.test_reset import everything_happened, mails, owner, reset
from tests.test_setup import CHILDREN, apply, paths


@dataclass(frozen=True, slots=True)
class Command:
    """A command at a site; every run of it is a process that knows nothing."""

    site: Site
    run: Callable[[Site], object]

    @property
    def sandbox(self) -> Sandbox:
        return self.site.sandbox

    @property
    def loop(self) -> Loop:
        return self.site.loop

    def work(self) -> None:
        self.run(self.site)

    def state(self) -> Any:
        """Where every mail is, every card, every mailbox."""
        boxes = dict.fromkeys(paths(self.sandbox))
        return mails(self.site), without_stamps(self.sandbox.cards()), boxes


def _leave(site: Site) -> object:
    return reset(site, removes=True)


def _watched(site: Site) -> Site:
    """At no request is a mail nowhere, or one of them gone."""
    known = mails(site).keys()

    def check(*_: object) -> None:
        assert mails(site).keys() == known
        assert all(mails(site).values()), "a mail is nowhere"

    site.sandbox.before(check)
    site.sandbox.after(check)
    return site


_BY_JMAP = {"contacts": {"by": "jmap"}}

COMMANDS: Mapping[str, Callable[[], Job]] = {
    "setup": lambda: Command(Site(configuration=CHILDREN), apply),
    "setup, small limits": lambda: Command(Site(SMALL_LIMITS, CHILDREN), apply),
    "setup, by JMAP": lambda: Command(Site(CYRUS_3_13, {**CHILDREN, **_BY_JMAP}), apply),
    "setup, by JMAP on Stalwart": lambda: Command(Site(STALWART, {**CHILDREN, **_BY_JMAP}), apply),
    "reset": lambda: Command(_watched(everything_happened()), reset),
    "reset, small limits": lambda: Command(_watched(everything_happened(SMALL_LIMITS)), reset),
    "reset, by JMAP": lambda: Command(_watched(everything_happened(CYRUS_3_13, "jmap")), reset),
    "leaving an account that had its own": lambda: Command(_watched(owner()[0]), _leave),
    "leaving an account that had its own, by JMAP": lambda: Command(
        _watched(owner(CYRUS_3_13, "jmap")[0]), _leave
    ),
}
