"""The managed mailboxes and groups: what the configuration names, found on the server.

Names are resolved as people mean them: ``Inbox`` by its role, ``A/B`` is B under A, and of equal
names the top-level one counts (RFC 8621 §2 lets names repeat under different parents). Names are
compared in normal form, however the server encodes an ``ü``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mailroom.errors import LastingTrouble, Missing
from mailroom.rules.configuration.categories import ROLES, Category
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Group
from mailroom.rules.names import normal_name
from mailroom.wire.jmap import Mailbox


@dataclass(frozen=True, slots=True)
class Places:
    """Mailbox ids. ``labels`` are the labels with their categories, None for ``label_unscreen``;
    ``drops`` are the destinations that ask for a category when a mail is moved there.
    ``is_marking`` says whether waiting mail bears a keyword. What an account may lack can be None:
    mailboxes with a role, the labels for domains and for lists."""

    screener: str
    inbox: str | None
    error: str
    warning: str | None
    labels: Mapping[str, Category | None]
    chains: Mapping[str, tuple[str, ...]]
    destinations: frozenset[str]
    archive: str | None = None
    sent: str | None = None
    junk: str | None = None
    trash: str | None = None
    drafts: str | None = None
    domain_label: str | None = None
    list_label: str | None = None
    drops: Mapping[str, Category] = field(default_factory=dict)
    is_marking: bool = False

    @property
    def asks(self) -> Mapping[str, Category | None]:
        """What a mail asks for by being in one of these mailboxes."""
        return {**self.drops, **self.labels}

    @property
    def queried(self) -> tuple[str, ...]:
        """The mailboxes where a poll looks for work: all labels, and the error label."""
        return (*self.labels, self.error)

    @property
    def scope(self) -> frozenset[str]:
        """Where a sender's waiting mail may be."""
        return self.destinations | {self.screener}

    @property
    def searched(self) -> frozenset[str]:
        """Where to look for a sender's mail: warnings come off wherever the mail is by then."""
        return self.scope | {each for each in (self.warning,) if each}


def find_places(
    config: Config, mailboxes: Sequence[Mailbox], former: Sequence[Mailbox] = ()
) -> Places:
    """Resolve every managed name. Raises Missing, which names all that are missing, and says what
    has become of those that were among the ``former`` mailboxes."""
    found = {name: resolve(name, mailboxes) for name in config.managed_mailboxes}
    missing = [name for name in config.required_mailboxes if found[name] is None]
    if missing:
        raise Missing(_what_is_missing(config, missing, mailboxes, former))
    ids = {name: mailbox.id for name, mailbox in found.items() if mailbox}
    _refuse_roles(mailbox for mailbox in found.values() if mailbox)
    _refuse_sharing(ids)
    triage, marks = config.triage, config.mailroom
    by_role = {mailbox.role: mailbox.id for mailbox in reversed(mailboxes)}
    labels: dict[str, Category | None] = {
        ids[category.label]: category for category in triage.categories
    }
    labels[ids[marks.label_unscreen]] = None
    chains = {
        category.name: tuple(ids[each.destination_mailbox] for each in triage.chain(category))
        for category in triage.categories
    }
    return Places(
        screener=ids[triage.screener_mailbox],
        inbox=by_role.get("inbox"),
        error=ids[marks.label_error],
        warning=ids.get(marks.label_warning),
        labels=labels,
        chains=chains,
        destinations=frozenset(ids[name] for name in triage.destinations),
        archive=by_role.get("archive"),
        sent=by_role.get("sent"),
        junk=by_role.get("junk"),
        trash=by_role.get("trash"),
        drafts=by_role.get("drafts"),
        domain_label=ids.get(marks.label_domain),
        list_label=ids.get(marks.label_list),
        drops={ids[name]: each for name, each in drops(config).items()},
        is_marking=config.screening.by != "off",
    )


def drops(config: Config) -> Mapping[str, Category]:
    """What moving a mail to a destination asks for, by the destination's name. If several
    categories share one, the topmost of their chain; if they are no chain, nothing."""
    triage = config.triage
    found: dict[str, Category] = {}
    if not triage.by_moving or config.screening.by == "off":
        return found
    for name in triage.destinations:
        sharing = [each for each in triage.categories if each.destination_mailbox == name]
        longest = max((triage.chain(each) for each in sharing), key=len)
        if set(sharing) <= set(longest):
            found[name] = [each for each in longest if each in sharing][-1]
    return found


def undecided(config: Config) -> tuple[str, ...]:
    """The destinations where moving a mail asks for nothing, although moving is tapping."""
    if not config.triage.by_moving or config.screening.by == "off":
        return ()
    decided = drops(config)
    return tuple(name for name in config.triage.destinations if name not in decided)


def require_groups(config: Config, groups: Iterable[Group]) -> None:
    """Raises Missing, which names all missing contact groups, except for the screened group:
    accounts that were set up before it existed lack it."""
    names = (*config.triage.groups, config.mailroom.provenance_group)
    there = {normal_name(group.name) for group in groups}
    missing = [name for name in names if name not in there]
    if missing:
        advice = f"run {config.command('setup --apply')}"
        raise Missing(f"contact groups missing, {advice}: {', '.join(missing)}")


def _what_is_missing(
    config: Config, names: Sequence[str], mailboxes: Sequence[Mailbox], former: Sequence[Mailbox]
) -> str:
    by_id = {mailbox.id: mailbox for mailbox in mailboxes}
    renamed = {
        name: by_id[was.id].name
        for name in names
        if (was := resolve(name, former)) and was.id in by_id
    }
    told = [
        f"the mailbox {old} is called {new} now: rename it back, or write {new} in the "
        "configuration"
        for old, new in renamed.items()
    ]
    gone = [name for name in names if name not in renamed]
    if gone:
        advice = f"run {config.command('setup --apply')}"
        told.append(f"mailboxes missing on the server, {advice}: {', '.join(gone)}")
    return "; ".join(told)


def resolve(name: str, mailboxes: Collection[Mailbox]) -> Mailbox | None:
    """The mailbox that ``name`` means, or None; of several the one at the top, then the one spelled
    exactly so, then the first by id."""
    if name.lower() == "inbox":
        return _first((box for box in mailboxes if box.role == "inbox"), name)
    whole = _first(_called(name, mailboxes), name)
    parent_name, slash, child = name.rpartition("/")
    if whole or not slash:
        return whole
    parent = resolve(parent_name, mailboxes)
    below = (box for box in mailboxes if parent and box.parent_id == parent.id)
    return _first(_called(child, below), child)


def _called(name: str, mailboxes: Iterable[Mailbox]) -> Iterator[Mailbox]:
    wanted = normal_name(name)
    return (box for box in mailboxes if normal_name(box.name) == wanted)


def _first(mailboxes: Iterable[Mailbox], name: str) -> Mailbox | None:
    def precedence(box: Mailbox) -> tuple[bool, bool, str]:
        return box.parent_id is not None, box.name != name, box.id

    return min(mailboxes, key=precedence, default=None)


def _refuse_roles(managed: Iterable[Mailbox]) -> None:
    """A mailbox with a role is no destination, since other mail is filed there already; and no
    label, since all its mail would be labelled."""
    for mailbox in managed:
        if mailbox.role in ROLES:
            raise LastingTrouble(
                f"the mailbox {mailbox.name} is the account's {mailbox.role} and cannot be a "
                "label or a destination: name another in the configuration"
            )


def _refuse_sharing(ids: Mapping[str, str]) -> None:
    """``B`` and ``A/B`` may be one mailbox, which cannot be both label and destination."""
    names: dict[str, str] = {}
    for name, mailbox_id in ids.items():
        if mailbox_id in names:
            raise LastingTrouble(
                f"{names[mailbox_id]} and {name} are the same mailbox on the server: "
                "name another in the configuration"
            )
        names[mailbox_id] = name
