"""Sieve scripts over JMAP as Cyrus 3.10 has them (a forerunner of RFC 9661): kept, not run.

Scripts are looked at superficially: what is quoted is left out, brackets have to match, and of
jmapquery only the condition that Cyrus 3.10 knows is accepted.
"""

import dataclasses
import itertools
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from mailroom.sandbox.exchange import Request, Response, json_response
from mailroom.sandbox.requests import MAIL, Arguments, Calls, Method, MethodError, RequestError
from mailroom.sandbox.server import Sandbox
from mailroom.sandbox.session import API_PATH
from mailroom.sandbox.standard import SetError, SetHandler, checked, real_id, set_objects

CAPABILITY: Final = "https://cyrusimap.org/ns/jmap/sieve"
RFC_CAPABILITY: Final = "urn:ietf:params:jmap:sieve"

_UPLOAD: Final = "/jmap/upload/"
_DOWNLOAD: Final = "/jmap/download/"
_QUOTED: Final = re.compile(r'text:\n.*?\n\.$|"(?:\\.|[^"\\])*"|#[^\n]*', re.DOTALL | re.MULTILINE)
_CONDITION: Final = re.compile(r'jmapquery text:\n\{"(\w+)"')


@dataclass(slots=True)
class Script:
    """One script of the user's."""

    id: str
    name: str
    text: str
    is_active: bool = False


class SieveSandbox(Sandbox):
    """A sandbox with Sieve. ``has_sieve_methods`` False: it is advertised, and every call fails."""

    has_sieve_methods: bool = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.scripts: dict[str, Script] = {}
        self._numbers = itertools.count()
        self._blobs: dict[str, bytes] = {}
        super().__init__(*arguments, **named)

    def put_script(self, name: str, text: str, *, is_active: bool = False) -> None:
        """What the user does with another program."""
        script = Script(f"S{next(self._numbers)}", name, text)
        self.scripts[script.id] = script
        if is_active:
            self.activate(script.id)

    def activate(self, id_: str) -> None:
        """Make one script the active one, as far as there is one of that id."""
        for script in self.scripts.values():
            script.is_active = script.id == id_

    def script(self, name: str) -> Script:
        """Return a script by its name; KeyError when there is none."""
        found = {script.name: script for script in self.scripts.values()}
        return found[name]

    def keep(self, data: bytes) -> str:
        """Keep a file and return its blob id."""
        blob_id = f"G{len(self._blobs)}"
        self._blobs[blob_id] = data
        return blob_id

    def blob(self, blob_id: str) -> str:
        """Return a file's text; KeyError when there is none."""
        return self._blobs[blob_id].decode()

    def _read(self, request: Request) -> tuple[Calls | None, RequestError | None]:
        # To the sandbox, whoever may use mail may use Sieve.
        body = request.body
        for capability in (CAPABILITY, RFC_CAPABILITY):
            body = body.replace(capability.encode(), MAIL.encode())
        return super()._read(dataclasses.replace(request, body=body))

    def _route(self, request: Request, calls: Calls | None) -> Response:
        if not request.path.startswith((_UPLOAD, _DOWNLOAD)):
            response = super()._route(request, calls)
            is_session = request.method == "GET" and request.path.rstrip("/") + "/" == API_PATH
            return self._with_sieve(response) if is_session and response.body else response
        if not self._is_user(request):
            return self._unauthorized(self.profile.jmap_authentication)
        if request.method == "POST":
            return json_response({"blobId": self.keep(request.body)}, 201)
        blob_id = request.path.removeprefix(_DOWNLOAD).split("/")[1]
        return Response(200, body=self._blobs[blob_id])

    def fault_of(self, text: str) -> str | None:
        """Return what the server finds wrong with a script."""
        return fault_of(text) if self.profile.validates_sieve else _syntax_fault(text)

    def _with_sieve(self, response: Response) -> Response:
        session, extensions = response.json(), self.profile.sieve_extensions
        if extensions is None:
            session["capabilities"][CAPABILITY] = {}
        else:
            session["capabilities"][RFC_CAPABILITY] = {}
            account = session["accounts"][self.user]["accountCapabilities"]
            account[RFC_CAPABILITY] = {"maxSizeScript": 102_400, "sieveExtensions": extensions}
        return dataclasses.replace(response, body=json.dumps(session).encode())

    def _jmap_methods(self) -> dict[str, tuple[str, Method]]:
        methods = _ScriptMethods(self)
        return {
            **super()._jmap_methods(),
            "SieveScript/get": (MAIL, methods.get),
            "SieveScript/set": (MAIL, methods.set_),
            "SieveScript/validate": (MAIL, methods.validate),
        }


class _ScriptMethods(SetHandler):
    def __init__(self, sandbox: SieveSandbox) -> None:
        self._sandbox = sandbox

    def get(self, arguments: Arguments, calls: Calls) -> Arguments:
        """SieveScript/get (RFC 9661 §2.2), of all scripts."""
        if not self._sandbox.has_sieve_methods:
            raise MethodError("serverFail", description="System I/O error")
        checked(arguments, self._sandbox.user, ids=list)
        return {
            "state": "0",
            "list": [self._shown(each) for each in self._sandbox.scripts.values()],
        }

    def set_(self, arguments: Arguments, calls: Calls) -> Arguments:
        """SieveScript/set (RFC 9661 §2.4); as Cyrus 3.10.2 has it: a null activates none."""
        args = checked(arguments, self._sandbox.user, ifInState=str, create=dict, update=dict,
                       destroy=list, onSuccessActivateScript=str)  # fmt: skip
        answer = set_objects(args, self, self._sandbox._store, calls)
        wanted = args["onSuccessActivateScript"]
        if wanted is None and "onSuccessActivateScript" in arguments:
            self._sandbox.activate("")
        if wanted and not (answer["notCreated"] or answer["notUpdated"]):
            self._sandbox.activate(real_id(wanted, calls.created) or wanted)
        return answer

    def validate(self, arguments: Arguments, calls: Calls) -> Arguments:
        """SieveScript/validate (RFC 9661 §2.6)."""
        args = checked(arguments, self._sandbox.user, blobId=str)
        fault = self._sandbox.fault_of(self._sandbox.blob(args["blobId"]))
        error = {"type": "invalidScript", "description": f"{fault}\r\n"} if fault else None
        return {"accountId": self._sandbox.user, "error": error}

    def create(self, properties: Arguments) -> Arguments:
        """Take a new script, whose name must be free."""
        if any(script.name == properties["name"] for script in self._sandbox.scripts.values()):
            raise SetError("alreadyExists")
        self._sandbox.put_script(properties["name"], self._text(properties))
        return self._shown(self._sandbox.script(properties["name"]))

    def update(self, id_: str, patch: Arguments) -> None:
        """Give a script another text."""
        if id_ not in self._sandbox.scripts:
            raise SetError("notFound")
        self._sandbox.scripts[id_].text = self._text(patch)

    def destroy(self, id_: str) -> None:
        """Delete a script that is not the active one."""
        if id_ not in self._sandbox.scripts:
            raise SetError("notFound")
        if self._sandbox.scripts[id_].is_active:
            raise SetError("scriptIsActive")
        del self._sandbox.scripts[id_]

    def _text(self, properties: Arguments) -> str:
        text = self._sandbox.blob(properties["blobId"])
        if fault := self._sandbox.fault_of(text):
            raise SetError("invalidScript", description=fault)
        return text

    def _shown(self, script: Script) -> Arguments:
        return {
            "id": script.id,
            "name": script.name,
            "isActive": script.is_active,
            "blobId": self._sandbox.keep(script.text.encode()),
        }


def fault_of(text: str) -> str | None:
    """Return what is wrong with a script, as far as a glance tells."""
    for condition in _CONDITION.findall(text):
        if condition != "fromContactGroupId":
            return f"invalid jmapquery argument: '{condition}'"
    code = _QUOTED.sub("", text)
    if "jmapquery" in code and '"vnd.cyrus.jmapquery"' not in text:
        return "jmapquery not required"
    return _syntax_fault(text)


def _syntax_fault(text: str) -> str | None:
    code = _QUOTED.sub("", text)
    return None if code.count("{") == code.count("}") else "syntax error"
