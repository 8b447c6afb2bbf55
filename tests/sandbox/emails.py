"""Email/query, Email/get, Email/changes, Email/set (RFC 8621 §4) and Thread/get (§3)."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.sandbox.addresses import Address
from tests.sandbox.filters import (
    MailSelector,
    refuse_nested_mailboxes,
    sort_mails,
    utc_date,
)
from tests.sandbox.mail import Addresses, Mail
from tests.sandbox.profile import Profile
from tests.sandbox.properties import RENDERERS, renderers_for
from tests.sandbox.requests import Arguments, Calls, MethodError
from tests.sandbox.standard import (
    PatchPath,
    SetError,
    SetHandler,
    checked,
    get_objects,
    patched_set,
    read_patch,
    real_id,
    set_objects,
    whole_set,
)
from tests.sandbox.store import MailStore

_QUERY_ARGUMENTS: Final[Mapping[str, Any]] = {
    "filter": dict,
    "sort": list,
    "position": int,
    "anchor": str,
    "anchorOffset": int,
    "limit": int,
    "calculateTotal": bool,
    "collapseThreads": bool,
}
_BODY_ARGUMENTS: Final[Mapping[str, Any]] = {
    "bodyProperties": list,
    "fetchTextBodyValues": bool,
    "fetchHTMLBodyValues": bool,
    "fetchAllBodyValues": bool,
    "maxBodyValueBytes": int,
}
#: RFC 8621 §4.1.1.
_KEYWORD: Final = re.compile(r"[^\x00-\x20\x7f-\U0010ffff(){\]%*\"\\]{1,255}")


class EmailMethods(SetHandler):
    """The methods on mails of one account."""

    def __init__(
        self,
        store: MailStore,
        account_id: str,
        profile: Profile,
        clock: Callable[[], float],
        meets_conflict: Callable[[], bool],
    ) -> None:
        self._store = store
        self._account_id = account_id
        self._profile = profile
        self._clock = clock
        self._meets_conflict = meets_conflict
        self.created: dict[str, str] = {}
        self.answers_nulls = profile.answers_nulls

    def query(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Email/query (RFC 8621 §4.4)."""
        args = checked(arguments, self._account_id, **_QUERY_ARGUMENTS)
        limit, position = args["limit"], args["position"] or 0
        if limit is not None and limit < 0:
            raise MethodError("invalidArguments", arguments=["limit"])
        most = self._profile.limits.max_ids_in_query
        is_capped = most is not None and (limit is None or limit > most)
        mails = self._store.mails
        if not self._profile.takes_nested_mailboxes:
            refuse_nested_mailboxes(args["filter"])
        selector = MailSelector(self._store, self._profile, self._clock())
        found = selector.select(args["filter"], set(mails))
        ids = sort_mails([mails[id_] for id_ in found], args["sort"])
        if args["anchor"] is not None:
            if args["anchor"] not in ids:
                raise MethodError("anchorNotFound")
            position = max(0, ids.index(args["anchor"]) + (args["anchorOffset"] or 0))
        elif position < 0:
            position = max(0, len(ids) + position)
        page, state = tuple(ids[position:][: most if is_capped else limit]), self._store.state
        return {
            "accountId": self._account_id,
            "queryState": str(hash(page)) if self._profile.query_state_of == "page" else state,
            "canCalculateChanges": False,
            "position": min(position, len(ids)),
            "ids": list(page),
            **({"limit": most} if is_capped else {}),
            **({"total": len(ids)} if args["calculateTotal"] and self._profile.tells_total else {}),
        }

    def get(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Email/get (RFC 8621 §4.2): never all; Cyrus does not limit a back-reference's ids."""
        args = checked(arguments, self._account_id, ids=list, properties=list, **_BODY_ARGUMENTS)
        state = self._store.state
        if args["ids"] is None:
            raise MethodError("requestTooLarge", description="ids must be specified")
        limits = self._profile.limits
        maximum = limits.max_objects_in_get if self._profile.limits_references else None
        renderers, properties = renderers_for(args["properties"], self._profile)
        args = {**args, "properties": properties}
        answer = get_objects(args, self._store.mails, renderers, maximum)
        return {"accountId": self._account_id, "state": state, **answer}

    def changes(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Email/changes (RFC 8621 §4.3); since a state to come there are none (Cyrus)."""
        args = checked(arguments, self._account_id, sinceState=str, maxChanges=int)
        since, most = args["sinceState"], args["maxChanges"]
        if most is not None and most < 1:
            raise MethodError("invalidArguments", arguments=["maxChanges"])
        found = self._store.changes(self._known_state(since), most)
        if found is None:
            raise MethodError("cannotCalculateChanges")
        return {
            "accountId": self._account_id,
            "oldState": since,
            "newState": str(found.state),
            "hasMoreChanges": found.has_more,
            "created": found.created,
            "updated": found.updated,
            "destroyed": found.destroyed,
        }

    def _known_state(self, state: str | None) -> int:
        """Read the state that changes are asked since."""
        if state is None and self._profile.bad_state == "invalidArguments":
            return 0  # Stalwart: then it is all that there is
        if state is None or not state.isdecimal():
            raise MethodError(self._profile.bad_state)
        if int(state) > self._store.sequence and self._profile.state_to_come != "empty":
            raise MethodError(self._profile.state_to_come)
        return int(state)

    def get_threads(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Thread/get (RFC 8621 §3.1): a thread's mails, the oldest first."""
        args = checked(arguments, self._account_id, ids=list, properties=list)
        threads, mails = self._store.threads, self._store.mails
        ids = threads.ids if args["ids"] is None else [id_ for id_ in args["ids"]]
        found = {id_: known for id_ in ids if (known := threads.mails_of(id_)) is not None}
        renderers: dict[str, Callable[[str], object]] = {
            "id": lambda id_: id_,
            "emailIds": lambda id_: sorted(found[id_], key=lambda each: mails[each].received_at),
        }
        limits = self._profile.limits
        maximum = limits.max_objects_in_get if self._profile.limits_references else None
        answer = get_objects({**args, "ids": ids}, {id_: id_ for id_ in found}, renderers, maximum)
        return {"accountId": self._account_id, "state": self._store.state, **answer}

    def set_(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Email/set (RFC 8621 §4.6)."""
        args = checked(
            arguments, self._account_id, ifInState=str, create=dict, update=dict, destroy=list
        )
        if self._meets_conflict():
            return set_objects(args, _Conflict(), self._store, calls)
        return set_objects(args, self, self._store, calls, calls.compared_state)

    def create(self, properties: Arguments) -> Arguments:
        """Create a mail of text, HTML or both from the properties that are named here."""
        properties = {**properties, **_read_bodies(properties)}
        properties.pop("bodyValues", None)
        mailbox_ids = self._checked_mailboxes(
            whole_set("mailboxIds", properties.pop("mailboxIds", None))
        )
        if not mailbox_ids:
            raise SetError("invalidProperties", properties=["mailboxIds"])
        if unknown := sorted(properties.keys() - _CREATABLE.keys()):
            raise SetError("invalidProperties", properties=unknown)
        now = self._clock()
        given = {
            name: _property(properties, key, read, default)
            for key, (name, read, default) in _CREATABLE.items()
        }
        given["received_at"] = given["received_at"] or float(int(now))
        given["keywords"] = given["keywords"] or set()
        found_from = now + self._profile.search_lag_seconds
        id_ = self._store.new_id("M")
        mail = Mail(id=id_, mailbox_ids=mailbox_ids, found_from=found_from, **given)
        self._store.add_mail(mail)
        return {name: RENDERERS[name](mail) for name in ("id", "blobId", "threadId", "size")}

    def update(self, id_: str, patch: Arguments) -> None:
        """Change a mail's mailboxes and keywords; nothing else of a mail can change."""
        mail = self._existing(id_)
        paths = read_patch(patch)
        if not self._profile.takes_whole_mailbox_ids:
            paths.pop(("mailboxIds",), None)
        if wrong := sorted({path[0] for path in paths} - {"mailboxIds", "keywords"}):
            raise SetError("invalidProperties", properties=wrong)
        keywords = self._patched(mail.keywords, "keywords", paths)
        if not self._profile.keywords_are_exact:
            keywords = _checked_keywords(keywords)
        self._resolved({path[1] for path in paths if path[0] == "mailboxIds" and path[1:]})
        mailbox_ids = self._checked_mailboxes(self._patched(mail.mailbox_ids, "mailboxIds", paths))
        if not mailbox_ids and not self._may_be_in_none(mail):
            raise SetError("invalidProperties", properties=["mailboxIds"])
        if any(not self._store.has_room(mailbox_id, keywords) for mailbox_id in mailbox_ids):
            # Half done (Cyrus 3.10.2, seen): it is in all mailboxes, the old and the new ones.
            self._store.set_mailboxes(mail, mail.mailbox_ids | mailbox_ids)
            raise SetError("serverFail", description="Too many user flags in mailbox")
        self._store.set_mailboxes(mail, mailbox_ids)
        if mailbox_ids and any(path[0] == "keywords" for path in paths):
            always = self._profile.empty_keyword_patch_changes
            self._store.set_keywords(mail, keywords, is_always_change=always)

    def _patched(self, current: set[str], name: str, paths: dict[PatchPath, Any]) -> set[str]:
        return patched_set(current, name, paths, false_takes_away=self._profile.false_takes_away)

    def destroy(self, id_: str) -> None:
        """Destroy a mail."""
        self._store.remove_mail(self._existing(id_))

    def _may_be_in_none(self, mail: Mail) -> bool:
        """Say whether a patch may destroy a mail by taking its last mailbox away."""
        way = self._profile.patch_to_no_mailbox
        return way == "destroys" or (way == "by past" and mail.has_left)

    def _existing(self, id_: str) -> Mail:
        if mail := self._store.mails.get(id_):
            return mail
        raise SetError("notFound")

    def _checked_mailboxes(self, mailbox_ids: set[str]) -> set[str]:
        """Return the ids of all the mailboxes that a mail is to have."""
        resolved = self._resolved(mailbox_ids)
        limit = self._profile.limits.max_mailboxes_per_email
        if limit is not None and len(resolved) > limit:
            raise SetError("tooManyMailboxes")
        return resolved

    def _resolved(self, mailbox_ids: set[str]) -> set[str]:
        """Return the ids with creation ids resolved; every one must exist."""
        resolved = {real_id(id_, self.created) for id_ in mailbox_ids}
        if not resolved <= self._store.mailboxes.keys():
            raise SetError("invalidProperties", properties=["mailboxIds"])
        return resolved

    def after_each(self, done: int) -> None:
        """Cyrus shows states in the middle of a large set that no answer ever names."""
        if self._profile.push_batch and done % self._profile.push_batch == 0:
            self._store.publish()


class _Conflict(SetHandler):
    """A set that another change came between: nothing of it is done."""

    answers_nulls = False

    def create(self, properties: Arguments) -> Arguments:
        """Refuse to create."""
        raise self._refusal()

    def update(self, id_: str, patch: Arguments) -> None:
        """Refuse to change."""
        raise self._refusal()

    def destroy(self, id_: str) -> None:
        """Refuse to destroy."""
        raise self._refusal()

    def _refusal(self) -> SetError:
        said = "Another process modified this message, please try again."
        return SetError("forbidden", description=said)


def _property(properties: Arguments, name: str, read: Callable[[Any], Any], default: object) -> Any:
    """Read one property of a creation; whatever is wrong with it refuses the object."""
    if properties.get(name) is None:
        return default
    try:
        return read(properties[name])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SetError("invalidProperties", properties=[name]) from error


def _read_addresses(value: list[dict[str, Any]]) -> Addresses:
    return tuple(Address(item.get("name"), item["email"]) for item in value)


def _read_bodies(properties: Arguments) -> Arguments:
    """Return ``textBody`` and ``htmlBody``, each as what its parts say."""
    values = properties.get("bodyValues") or {}
    bodies: Arguments = {}
    for name in ("textBody", "htmlBody"):
        try:
            parts = properties.get(name) or []
            bodies[name] = "".join(values[part["partId"]]["value"] for part in parts)
        except (KeyError, TypeError) as error:
            raise SetError("invalidProperties", properties=[name]) from error
    return bodies


def _read_ids(value: list[str]) -> tuple[str, ...]:
    return tuple(map(str, value))


def _read_keywords(value: object) -> set[str]:
    return _checked_keywords(whole_set("keywords", value))


def _checked_keywords(keywords: set[str]) -> set[str]:
    """Return keywords in lower case; they have no spaces and are ASCII (RFC 8621 §4.1.1)."""
    if wrong := sorted(each for each in keywords if not _KEYWORD.fullmatch(each)):
        raise SetError("invalidProperties", properties=[f"keywords/{each}" for each in wrong])
    return {keyword.lower() for keyword in keywords}


#: Property of a creation → the field that it is, how it is read, what it is by default.
_CREATABLE: Final[Mapping[str, tuple[str, Callable[[Any], Any], Any]]] = {
    "receivedAt": ("received_at", utc_date, None),
    "from": ("senders", _read_addresses, None),
    "to": ("to", _read_addresses, None),
    "cc": ("cc", _read_addresses, None),
    "bcc": ("bcc", _read_addresses, None),
    "subject": ("subject", str, ""),
    "messageId": ("message_id", lambda value: _read_ids(value)[0], ""),
    "inReplyTo": ("in_reply_to", _read_ids, ()),
    "references": ("references", _read_ids, ()),
    "keywords": ("keywords", _read_keywords, None),
    "textBody": ("text", str, ""),
    "htmlBody": ("html", str, ""),
}
