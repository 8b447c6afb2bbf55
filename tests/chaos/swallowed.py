"""The one loss: a move of the user's that a patch of the service's swallows, and a kill before the
service has given it back.

The move comes between the service's look at the mail and its patch, which leaves the mail in both
places; the get that follows the patch shows that. Who dies in between knows nothing of it. That is
counted: so many kills fell into the gap, so many moves were lost by them. All else has to be as it
would have been, had the user not moved the mail.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Any

from tests.chaos.arrivals import EVE, RULES, WAYS, Act, DoorScenario, arrival
from tests.chaos.crash import BOB, Moment, Service, differences, kill, undisturbed
from tests.chaos.table import Case, Measured

KILLS, LOST = "kills between a patch and what gives a move back", "moves lost"
_LABEL = "@ToFeed"
CONFLICTS = "conflicts of a move given back with a label that was still on"


@dataclass(slots=True)
class Theft:
    """The moment at which ``mail`` is moved to ``goal``: before the first patch that moves it."""

    service: Service
    mail: str
    goal: str
    has_happened: bool = False

    def __post_init__(self) -> None:
        self.service.sandbox.before_call(self._move)

    @property
    def is_open(self) -> bool:
        """Whether the mail is where the user has put it, and where the service has, too."""
        return self.has_happened and len(self.service.sandbox.mailboxes_of(self.mail)) > 1

    def _move(self, name: str, arguments: Mapping[str, Any]) -> None:
        patch = arguments["update"].get(self.mail, {}) if name == "Email/set" else {}
        if not self.has_happened and any(key.startswith("mailboxIds/") for key in patch):
            self.has_happened = True
            self.service.sandbox.move(self.mail, self.goal)


@dataclass(frozen=True, slots=True)
class Story:
    """What the service is at, and whose mail is moved meanwhile: the one ``mail`` counts to."""

    scenario: DoorScenario
    mail: int
    goal: str

    def begin(self) -> tuple[Service, Theft]:
        service = self.scenario.begin()
        return service, Theft(service, service.world.mails[self.mail], self.goal)

    def resolve(self, service: Service) -> None:
        """The user is told that the label and the move contradict each other, and takes the label
        off."""
        service.sandbox.unlabel(service.world.mails[-1], _LABEL)
        service.work()


def _tap(label: str, mail: int) -> Act:
    return lambda world: world.tap(world.mails[mail], label)


def _stories() -> Iterator[tuple[str, Story]]:
    for rules, way in product(RULES, WAYS):
        newcomer = BOB if RULES[rules] == "server" else EVE
        for name, act, mail, goal in (
            ("a move that a triage swallows", _tap(_LABEL, -1), -3, "Jail"),
            ("a move that the door swallows", arrival(newcomer), -1, "Feed"),
        ):
            scenario = DoorScenario([act], [], way, rules)
            yield f"{name}, {rules}, {way}", Story(scenario, mail, goal)


STORIES: Mapping[str, Story] = dict(_stories())


def cases() -> Iterator[Case]:
    """Every moment of every request."""
    for name, story in STORIES.items():
        kept, lost = cache(partial(_undisturbed, story)), cache(partial(_unmoved, story))
        first, last, _ = kept()
        for number in range(first, last + 1):
            for moment in Moment:
                where = f"{name}, request {number - first + 1} of {last - first + 1}"
                run = partial(killed, story, number, moment, kept, lost)
                yield Case(f"{where}, {moment.value}", run)


def killed(
    story: Story,
    number: int,
    moment: Moment,
    kept: Callable[[], tuple[int, int, Any]],
    lost: Callable[[], Any],
) -> Measured:
    """Killed once, there: it ends as without the kill, or the move alone is lost."""
    service, theft = story.begin()
    assert kill(service, number, moment)
    was_open = theft.is_open
    service.work()
    is_conflict = "@MailroomError" in service.sandbox.mailboxes_of(theft.mail)
    if is_conflict:
        story.resolve(service)
    found, expected = service.state(), kept()[2]
    is_lost = was_open and found != expected
    if is_lost:
        mails, *others = lost()
        places = found[0][theft.mail]
        assert places - {theft.goal} == mails[theft.mail] - {theft.goal}, places
        expected = ({**mails, theft.mail: places}, *others)
    assert found == expected, f"\n{differences(found, expected)}"
    return Measured(0.0, {KILLS: was_open, LOST: is_lost, CONFLICTS: is_conflict})


def _undisturbed(story: Story) -> tuple[int, int, Any]:
    return undisturbed(lambda: story.begin()[0])


def _unmoved(story: Story) -> Any:
    """What it leads to when the user does not move the mail."""
    return undisturbed(story.scenario.begin)[2]
