"""The JMAP request envelope: limits, `using`, back-references (RFC 8620 §3)."""

import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from tests.sandbox.exchange import Response, json_response
from tests.sandbox.profile import Limits, Profile

CORE: Final = "urn:ietf:params:jmap:core"
MAIL: Final = "urn:ietf:params:jmap:mail"
SUBMISSION: Final = "urn:ietf:params:jmap:submission"
CONTACTS: Final = "urn:ietf:params:jmap:contacts"

Arguments = dict[str, Any]


class MethodError(Exception):
    """A method call fails; the others of the request go on (RFC 8620 §3.6.2)."""

    def __init__(self, type_: str, **details: object) -> None:
        super().__init__(type_)
        self.answer: Arguments = {"type": type_, **details}


class RequestError(Exception):
    """The whole request fails (RFC 8620 §3.6.1)."""

    def __init__(
        self,
        type_: str,
        detail: str,
        limit: str | None = None,
        status: int = 400,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        type_ = f"urn:ietf:params:jmap:error:{type_}"
        self._status = status
        self._headers = headers
        self._problem = {"type": type_, "status": status, "detail": detail}
        if limit:
            self._problem["limit"] = limit

    def response(self, *, is_plain: bool) -> Response:
        """Return the answer that says so: in plain text, or with problem details."""
        if is_plain:
            headers = {"Content-Type": "text/plain; charset=utf-8", **self._headers}
            return Response(self._status, headers, str(self).encode())
        answer = json_response(self._problem, self._status, "application/problem+json")
        return replace(answer, headers={**answer.headers, **self._headers})


@dataclass(frozen=True, slots=True)
class Invocation:
    """One method call or one response of it (RFC 8620 §3.2)."""

    name: str
    arguments: Arguments
    call_id: str


@dataclass(slots=True)
class Calls:
    """A request that was read: its calls, what it uses, and the ids it has created so far."""

    using: frozenset[str]
    invocations: Sequence[Invocation]
    created: dict[str, str] = field(default_factory=dict)
    #: The state of the mail that ``ifInState`` is compared with, where it is not the present one.
    compared_state: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the methods called, in their order."""
        return tuple(call.name for call in self.invocations)


Method = Callable[[Arguments, Calls], Arguments]


def read_calls(body: bytes, media_type: str, capabilities: frozenset[str]) -> Calls:
    """Read a request body.

    Raises:
        RequestError: it is no JSON, no request, or uses a capability that is not there.
    """
    if media_type.partition(";")[0].strip().lower() != "application/json":
        raise RequestError("notJSON", f"the content type is {media_type!r}", status=415)
    try:
        content = json.loads(body, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise RequestError("notJSON", str(error)) from error
    match content:
        case {"using": list(using), "methodCalls": list(calls)} if all(
            isinstance(name, str) for name in using
        ):
            pass
        case _:
            raise RequestError("notRequest", "no object with using and methodCalls")
    if unknown := sorted(set(using) - capabilities):
        raise RequestError("unknownCapability", f"unknown: {', '.join(unknown)}")
    return Calls(frozenset(using), [_invocation(call) for call in calls])


def check_limits(calls: Calls, profile: Profile) -> None:
    """Refuse a request that is larger than the session allows.

    Cyrus 3.10 refuses too many objects this way as well, and not as an error of the method.
    """
    if len(calls.invocations) > profile.limits.max_calls_in_request:
        raise RequestError("limit", "too many calls", "maxCallsInRequest")
    if profile.object_limits_fail == "request":
        for call in calls.invocations:
            if limit := exceeded(call.name, call.arguments, profile.limits):
                raise RequestError("limit", "too many objects", limit)


def exceeded(name: str, arguments: Arguments, limits: Limits) -> str | None:
    """Return the limit that the objects of a call exceed, if any."""
    if name.endswith("/get") and _count(arguments, "ids") > limits.max_objects_in_get:
        return "maxObjectsInGet"
    if _count(arguments, "create", "update", "destroy") > limits.max_objects_in_set:
        return "maxObjectsInSet"
    return None


def run_calls(
    calls: Calls,
    methods: Mapping[str, tuple[str, Method]],
    intercept: Callable[[str, Arguments], str | None],
    ignored: Container[str] = (),
) -> list[Invocation]:
    """Run the calls one after the other and return the responses.

    ``methods`` maps a name to its capability and function; ``intercept`` may answer a call with
    the type of an error in the method's place; arguments that are ``ignored`` count as not given.
    """
    responses: list[Invocation] = []
    for call in calls.invocations:
        try:
            capability, method = methods.get(call.name, ("", None))
            if method is None or capability not in calls.using:
                raise MethodError("unknownMethod")
            given = {k: v for k, v in call.arguments.items() if k not in ignored}
            arguments = _resolved(given, responses)
            if injected := intercept(call.name, arguments):
                raise MethodError(injected)
            answer = Invocation(call.name, method(arguments, calls), call.call_id)
        except MethodError as error:
            answer = Invocation("error", error.answer, call.call_id)
        responses.append(answer)
    return responses


def _count(arguments: Arguments, *names: str) -> int:
    values = [arguments.get(name) for name in names]
    return sum(len(value) for value in values if isinstance(value, list | dict))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """I-JSON (RFC 7493 §2.3) has no object with one name twice."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return content


def _invocation(call: object) -> Invocation:
    match call:
        case [str(name), dict(arguments), str(call_id)]:
            return Invocation(name, arguments, call_id)
        case _:
            raise RequestError("notRequest", "a method call is no [name, arguments, id]")


def _resolved(arguments: Arguments, responses: Sequence[Invocation]) -> Arguments:
    """Replace every ``#name`` by what it refers to (RFC 8620 §3.7)."""
    resolved: Arguments = {}
    for name, value in arguments.items():
        if not name.startswith("#"):
            resolved[name] = value
        elif name[1:] in arguments:
            raise MethodError("invalidArguments", arguments=[name[1:]])
        else:
            resolved[name[1:]] = _referred(value, responses)
    return resolved


def _referred(reference: object, responses: Sequence[Invocation]) -> object:
    match reference:
        case {"resultOf": str(call_id), "name": str(name), "path": str(path)}:
            pass
        case _:
            raise MethodError("invalidResultReference")
    response = next((r for r in responses if r.call_id == call_id), None)
    if response is None or response.name != name or (path and path[0] != "/"):
        raise MethodError("invalidResultReference")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    return _pointed(response.arguments, steps)


def _pointed(value: object, steps: Sequence[str]) -> object:
    """Follow a JSON pointer; ``*`` maps the rest over an array and flattens lists of lists."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(value, list) and step == "*":
        results = [_pointed(item, rest) for item in value]
        return [
            item
            for result in results
            for item in (result if isinstance(result, list) else [result])
        ]
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return _pointed(value[int(step)], rest)
    if isinstance(value, dict) and step in value:
        return _pointed(value[step], rest)
    raise MethodError("invalidResultReference")
