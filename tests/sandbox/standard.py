"""The standard methods that all types share: get, set, patches (RFC 8620 §5)."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from tests.sandbox.requests import Arguments, Calls, MethodError

PatchPath = tuple[str, ...]

#: The order of RFC 8620 §5.3.
_ORDER: Final = ("create", "update", "destroy")


class States(Protocol):
    """What keeps the state of a type and tells of its changes."""

    @property
    def state(self) -> str:
        """The current state."""

    def publish(self) -> None:
        """Tell the listeners what has changed since the last time."""


class SetError(Exception):
    """One object of a set is refused (RFC 8620 §5.3); the others go on."""

    def __init__(self, type_: str, **details: object) -> None:
        super().__init__(type_)
        self.answer: Arguments = {"type": type_, **details}


def checked(arguments: Arguments, account_id: str, **types: type | tuple[type, ...]) -> Arguments:
    """Check a call's arguments and return them, None for those that are absent.

    Raises:
        MethodError: no accountId, another account's, an unknown argument or one of a wrong type.
    """
    known: dict[str, Any] = {"accountId": str, **types}
    wrong = [name for name, value in arguments.items() if not _fits(value, known.get(name, ()))]
    if not isinstance(arguments.get("accountId"), str):
        wrong.append("accountId")
    if wrong:
        raise MethodError("invalidArguments", arguments=sorted(set(wrong)))
    if arguments["accountId"] != account_id:
        raise MethodError("accountNotFound")
    return dict.fromkeys(known) | arguments


def _fits(value: object, types: type | tuple[type, ...]) -> bool:
    """Compare exactly: a JSON true is no number. Null fits where the type has a default."""
    allowed = types if isinstance(types, tuple) else (types,)
    return type(value) in allowed or (value is None and bool(allowed))


def check_ids(values: Sequence[object], argument: str) -> None:
    """Refuse what cannot be an id (RFC 8620 §1.2)."""
    if not all(isinstance(value, str) and value for value in values):
        raise MethodError("invalidArguments", arguments=[argument])


def get_objects(
    arguments: Arguments,
    objects: Mapping[str, Any],
    renderers: Mapping[str, Callable[[Any], object]],
    maximum: int | None = None,
) -> Arguments:
    """Answer a Foo/get (RFC 8620 §5.1) from checked arguments; the state is the caller's to add.

    ``renderers`` has a function for each property, in the order in which they are shown.
    More than ``maximum`` objects are refused.
    """
    properties = renderers.keys() if arguments["properties"] is None else arguments["properties"]
    if unknown := [name for name in properties if name not in renderers]:
        raise MethodError("invalidArguments", arguments=["properties"], properties=unknown)
    ids = list(objects) if arguments["ids"] is None else list(dict.fromkeys(arguments["ids"]))
    check_ids(ids, "ids")
    if maximum is not None and len(ids) > maximum:
        raise MethodError("requestTooLarge")
    wanted = {"id", *properties}
    shown = [(name, render) for name, render in renderers.items() if name in wanted]
    return {
        "list": [
            {name: render(objects[id_]) for name, render in shown} for id_ in ids if id_ in objects
        ],
        "notFound": [id_ for id_ in ids if id_ not in objects],
    }


class SetHandler:
    """What a type does when its objects are created, updated and destroyed.

    Each raises SetError where the object is refused; ``create`` and ``update`` return the
    properties that the server itself has set, None if there are none.
    """

    #: What was created so far in the request: creation id → id.
    created: dict[str, str]
    #: Whether an answer says what there was none of.
    answers_nulls: bool = True
    #: In which order a set does what it is to do.
    order: tuple[str, ...] = _ORDER
    #: For which of it ``#key`` means what was created as key; else it is an id like any other.
    resolves: frozenset[str] = frozenset({"update", "destroy"})

    def create(self, properties: Arguments) -> Arguments:
        """Create an object and return at least its id."""
        raise SetError("forbidden")

    def update(self, id_: str, patch: Arguments) -> Arguments | None:
        """Change an object."""
        raise SetError("forbidden")

    def destroy(self, id_: str) -> None:
        """Destroy an object."""
        raise SetError("forbidden")

    def after_each(self, done: int) -> None:
        """Hear after every object how many are done."""


def set_objects(
    arguments: Arguments,
    handler: SetHandler,
    states: States,
    calls: Calls,
    compared_state: str | None = None,
) -> Arguments:
    """Answer a Foo/set (RFC 8620 §5.3) from checked arguments. ``ifInState`` is compared with
    ``compared_state``, by default the present one."""
    old_state = states.state
    if arguments["ifInState"] not in (None, compared_state or old_state):
        raise MethodError("stateMismatch")
    check_ids(arguments["destroy"] or (), "destroy")
    handler.created = calls.created
    answer: dict[str, dict[str, Any]] = {}
    for done, (verb, key, action) in enumerate(_actions(arguments, handler), 1):
        try:
            answer.setdefault(verb, {})[key] = action()
        except SetError as error:
            answer.setdefault(f"not{verb.capitalize()}", {})[key] = error.answer
        handler.after_each(done)
    states.publish()
    fates: Arguments = {
        "created": answer.get("created") or None,
        "updated": answer.get("updated") or None,
        "destroyed": list(answer.get("destroyed", ())) or None,
        "notCreated": answer.get("notCreated"),
        "notUpdated": answer.get("notUpdated"),
        "notDestroyed": answer.get("notDestroyed"),
    }
    if not handler.answers_nulls:
        fates = {name: value for name, value in fates.items() if value is not None}
    return {
        "accountId": arguments["accountId"],
        "oldState": old_state,
        "newState": states.state,
        **fates,
    }


def _actions(
    arguments: Arguments, handler: SetHandler
) -> Iterator[tuple[str, str, Callable[[], Arguments | None]]]:
    """Yield what is to be done, in the handler's order."""

    def create(key: str) -> Arguments:
        answer = handler.create(_object(arguments["create"][key]))
        handler.created[key] = answer["id"]
        return answer

    def update(key: str) -> Arguments | None:
        return handler.update(meant("update", key), _object(arguments["update"][key]))

    def destroy(key: str) -> None:
        handler.destroy(meant("destroy", key))

    def meant(verb: str, key: str) -> str:
        return real_id(key, handler.created) if verb in handler.resolves else key

    actions: dict[str, tuple[str, Callable[[str], Arguments | None]]] = {
        "create": ("created", create),
        "update": ("updated", update),
        "destroy": ("destroyed", destroy),
    }
    for verb in handler.order:
        past, action = actions[verb]
        for key in dict.fromkeys(arguments[verb] or ()):
            yield past, key, partial(action, key)


def real_id(id_: str, created_ids: Mapping[str, str]) -> str:
    """Return the id behind a creation id, ``#key`` (RFC 8620 §5.3); others are as they are."""
    return created_ids.get(id_[1:], id_) if id_.startswith("#") else id_


def _object(value: object) -> Arguments:
    if not isinstance(value, dict):
        raise SetError("invalidProperties", description="no object")
    return value


def read_patch(patch: Arguments) -> dict[PatchPath, Any]:
    """Read a PatchObject (RFC 8620 §5.3): its pointers, taken apart.

    Raises:
        SetError: two pointers where one contains the other.
    """
    paths = {
        tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")): value
        for pointer, value in patch.items()
    }
    if len(paths) != len(patch) or any(
        path[:length] in paths for path in paths for length in range(1, len(path))
    ):
        raise SetError("invalidPatch")
    return paths


def patched_set(
    current: Collection[str],
    name: str,
    patch: Mapping[PatchPath, Any],
    *,
    false_takes_away: bool = False,
) -> set[str]:
    """Apply a patch to a property that is a set: an object whose values are all true."""
    if (name,) in patch:
        return whole_set(name, patch[(name,)])
    result = set(current)
    for path, value in patch.items():
        if path[0] != name:
            continue
        if len(path) != 2:  # the property and the member
            raise SetError("invalidPatch")
        if value is True:
            result.add(path[1])
        elif value is None or (value is False and false_takes_away):
            result.discard(path[1])
        else:
            raise SetError("invalidProperties", properties=["/".join(path)])
    return result


def whole_set(name: str, value: object) -> set[str]:
    """Read a property that is a set and is given whole."""
    if not isinstance(value, dict) or not all(flag is True for flag in value.values()):
        raise SetError("invalidProperties", properties=[name])
    return set(value)
