"""Mailbox/get, Mailbox/query and Mailbox/set (RFC 8621 §2)."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from tests.sandbox.mail import Mailbox
from tests.sandbox.profile import Profile
from tests.sandbox.requests import Arguments, Calls
from tests.sandbox.standard import (
    SetError,
    SetHandler,
    checked,
    get_objects,
    real_id,
    set_objects,
)
from tests.sandbox.store import MailStore

RIGHTS: Final = {
    name: True
    for name in [
        "mayReadItems",
        "mayAddItems",
        "mayRemoveItems",
        "maySetSeen",
        "maySetKeywords",
        "mayCreateChild",
        "mayRename",
        "mayDelete",
        "maySubmit",
    ]
}

#: Property of Mailbox/set → the types it may have.
_SETTABLE: Final[Mapping[str, tuple[type, ...]]] = {
    "name": (str,),
    "parentId": (str, type(None)),
    "role": (str, type(None)),
    "sortOrder": (int,),
    "isSubscribed": (bool,),
}


class MailboxMethods(SetHandler):
    """The methods on mailboxes of one account."""

    def __init__(self, store: MailStore, account_id: str, profile: Profile) -> None:
        self._store = store
        self._profile = profile
        self._account_id = account_id
        self.created: dict[str, str] = {}
        self.answers_nulls = profile.answers_nulls
        self._empties = False
        self._renderers: Mapping[str, Callable[[Mailbox], object]] = {
            "id": lambda mailbox: mailbox.id,
            "name": lambda mailbox: mailbox.name,
            "parentId": lambda mailbox: mailbox.parent_id,
            "role": lambda mailbox: mailbox.role,
            "sortOrder": lambda mailbox: mailbox.sort_order,
            "totalEmails": self._total,
            "unreadEmails": self._unread,
            "totalThreads": self._total,
            "unreadThreads": self._unread,
            "myRights": lambda mailbox: RIGHTS,
            "isSubscribed": lambda mailbox: True,
        }

    def get(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Mailbox/get (RFC 8621 §2.1)."""
        args = checked(arguments, self._account_id, ids=list, properties=list)
        state = self._store.mailbox_state
        limits = self._profile.limits
        maximum = limits.max_objects_in_get if self._profile.limits_references else None
        boxes = self._store.mailboxes
        if args["ids"] is None and self._profile.cuts_all:
            boxes = dict(islice(boxes.items(), limits.max_objects_in_get))
        answer = get_objects(args, boxes, self._renderers, maximum)
        return {"accountId": self._account_id, "state": state, **answer}

    def query(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Mailbox/query (RFC 8621 §2.3) for all, in the order in which they were made."""
        args = checked(arguments, self._account_id, position=int, limit=int)
        ids, position = list(self._store.mailboxes), args["position"] or 0
        return {
            "accountId": self._account_id,
            "queryState": self._store.state,
            "canCalculateChanges": False,
            "position": min(position, len(ids)),
            "ids": ids[position:][: args["limit"]],
        }

    def set_(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Mailbox/set (RFC 8621 §2.5)."""
        args = checked(
            arguments,
            self._account_id,
            ifInState=str,
            create=dict,
            update=dict,
            destroy=list,
            onDestroyRemoveEmails=bool,
        )
        self._empties = bool(args["onDestroyRemoveEmails"])
        return set_objects(args, self, self._store, calls)

    def create(self, properties: Arguments) -> Arguments:
        """Create one mailbox; the name must be free among its siblings."""
        _check_properties(properties)
        name, parent_id = self._place(properties, None, None)
        self._refuse_duplicate(name, parent_id, None)
        role = properties.get("role")
        mailbox_id = self._store.add_mailbox(name, parent_id, role)
        mailbox = self._store.mailboxes[mailbox_id]
        mailbox.sort_order = properties.get("sortOrder", mailbox.sort_order)
        return {
            name: render(mailbox)
            for name, render in self._renderers.items()
            if name not in properties
        }

    def update(self, id_: str, patch: Arguments) -> None:
        """Rename or move one mailbox."""
        mailbox = self._existing(id_)
        _check_properties(patch)
        name, parent_id = self._place(patch, mailbox.name, mailbox.parent_id)
        ancestor = parent_id
        while ancestor is not None:
            if ancestor == id_:
                raise SetError("invalidProperties", properties=["parentId"])
            ancestor = self._store.mailboxes[ancestor].parent_id
        self._refuse_duplicate(name, parent_id, mailbox)
        self._store.change_mailbox(mailbox, name, parent_id)

    def destroy(self, id_: str) -> None:
        """Destroy one mailbox without children, and without mail unless told to empty it."""
        if self._existing(id_).role == "inbox":
            raise SetError("forbidden")
        if self._store.children(id_):
            raise SetError("mailboxHasChild")
        if self._store.in_mailbox(id_) and not self._empties:
            raise SetError("mailboxHasEmail")
        self._store.remove_mailbox(id_)

    def _existing(self, id_: str) -> Mailbox:
        if mailbox := self._store.mailboxes.get(id_):
            return mailbox
        raise SetError("notFound")

    def _place(
        self, properties: Arguments, name: str | None, parent_id: str | None
    ) -> tuple[str, str | None]:
        """Return the name and parent that a mailbox is to have."""
        name = properties.get("name", name)
        if not name:
            raise SetError("invalidProperties", properties=["name"])
        if "/" in name:
            raise SetError("serverFail", description="Invalid mailbox name")
        parent_id = properties.get("parentId", parent_id)
        if parent_id is not None:
            parent_id = real_id(parent_id, self.created)
            if parent_id not in self._store.mailboxes:
                raise SetError("invalidProperties", properties=["parentId"])
        return name, parent_id

    def _refuse_duplicate(self, name: str, parent_id: str | None, own: Mailbox | None) -> None:
        fold = str.casefold if self._profile.ignores_case_of_mailboxes else str
        siblings = (m for m in self._store.children(parent_id) if m is not own)
        if (other := next((m for m in siblings if fold(m.name) == fold(name)), None)) is None:
            return
        if self._profile.duplicate_mailbox == "alreadyExists":
            raise SetError("alreadyExists", existingId=other.id)
        raise SetError("invalidProperties", properties=["name"])

    def _total(self, mailbox: Mailbox) -> int:
        return len(self._store.in_mailbox(mailbox.id))

    def _unread(self, mailbox: Mailbox) -> int:
        mails = self._store.mails
        return sum("$seen" not in mails[id_].keywords for id_ in self._store.in_mailbox(mailbox.id))


def _check_properties(properties: Mapping[str, Any]) -> None:
    wrong = [
        name for name, value in properties.items() if type(value) not in _SETTABLE.get(name, ())
    ]
    if wrong:
        raise SetError("invalidProperties", properties=wrong)
