"""Sieve scripts over JMAP as Cyrus 3.10 has them (a forerunner of RFC 9661).

The active one decides where mail goes that arrives.
"""

import dataclasses
import itertools
import json
from dataclasses import dataclass
from typing import Any, Final

from tests.sandbox.exchange import Request, Response, json_response
from tests.sandbox.known import KnownPeople
from tests.sandbox.mail import Filing, Mail
from tests.sandbox.requests import MAIL, Arguments, Calls, Method, MethodError, RequestError
from tests.sandbox.server import Sandbox
from tests.sandbox.session import API_PATH
from tests.sandbox.sieve_check import extensions_of, fault_of
from tests.sandbox.sieve_conditions import Circumstances
from tests.sandbox.sieve_run import RunFailed, Server, run_script
from tests.sandbox.sieve_syntax import Node
from tests.sandbox.standard import SetError, SetHandler, checked, real_id, set_objects

CAPABILITY: Final = "https://cyrusimap.org/ns/jmap/sieve"
RFC_CAPABILITY: Final = "urn:ietf:params:jmap:sieve"

_UPLOAD: Final = "/jmap/upload/"
_DOWNLOAD: Final = "/jmap/download/"


@dataclass(slots=True)
class Script:
    """One script of the user's."""

    id: str
    name: str
    text: str
    is_active: bool = False


class SieveSandbox(Sandbox):
    """A sandbox with Sieve.

    ``has_sieve_methods`` False: it is advertised, and every call fails. ``offers_sieve`` False: it
    is not advertised; the scripts are those that the server makes of the rules on its web page.
    """

    has_sieve_methods: bool = True
    offers_sieve: bool = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.scripts: dict[str, Script] = {}
        self._numbers = itertools.count()
        self._blobs: dict[str, bytes] = {}
        #: The people in the cards, and the revision of the cards that they are of.
        self._people: tuple[int, KnownPeople] | None = None
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

    # Delivery

    def _file(self, mail: Mail, envelope_from: str) -> Filing:
        active = next((each for each in self.scripts.values() if each.is_active), None)
        if active is None:
            return super()._file(mail, envelope_from)
        store = self._store
        around = Circumstances(
            envelope_from,
            self._known_people(),
            has_id=lambda id_: id_ in store.mailboxes,
            has_name=lambda name: self._named(name) is not None,
            has_use=lambda use: self._used_for(use) is not None,
        )
        server = Server(
            self.mailbox_id("Inbox"),
            self._meant,
            store.has_room,
            self._text_of,
            extensions_of(self.profile),
            self.profile.marks_failed_sieve,
        )
        return run_script(active.text, mail, around, server)

    def _known_people(self) -> KnownPeople:
        revision = self._contacts.storage.revision
        if self._people is None or self._people[0] != revision:
            cards = self._contacts.book.cards.values()
            exact = self.profile.version_4_members_are_exact
            self._people = revision, KnownPeople(cards, takes_exact=exact)
        return self._people[1]

    def _text_of(self, name: str) -> str | None:
        return next((each.text for each in self.scripts.values() if each.name == name), None)

    def _meant(self, command: Node) -> str:
        """Return the mailbox that a fileinto means: by id, by use, else by name."""
        [id_] = command.value_of(":mailboxid") or [""]
        [use] = command.value_of(":specialuse") or [""]
        [name] = command.strings()[-1]
        found = id_ if id_ in self._store.mailboxes else self._used_for(use) or self._named(name)
        if found is None and command.has(":create"):
            found = self.create_mailbox(self._path(name) or name)
        if found is None:
            raise RunFailed(f"no mailbox {name!r}")
        return found

    def _used_for(self, use: str) -> str | None:
        role = use.removeprefix("\\").lower()
        mailboxes = self._store.mailboxes.values()
        return next((each.id for each in mailboxes if role and each.role == role), None)

    def _named(self, name: str) -> str | None:
        path = self._path(name)
        try:
            return None if path is None else self.mailbox_id(path)
        except KeyError:
            return None

    def _path(self, name: str) -> str | None:
        """Return the path of a mailbox as a script names it."""
        first, _, below = name.partition("/")
        if first.upper() == "INBOX":
            return below or "Inbox"
        return None if self.profile.sieve_names_begin_with_inbox else name

    # JMAP

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
            is_told = is_session and self.offers_sieve and response.body
            return self._with_sieve(response) if is_told else response
        if not self._is_user(request):
            return self._unauthorized(self.profile.jmap_authentication)
        if request.method == "POST":
            return json_response({"blobId": self.keep(request.body)}, 201)
        blob_id = request.path.removeprefix(_DOWNLOAD).split("/")[1]
        return Response(200, body=self._blobs[blob_id])

    def fault_of(self, text: str) -> str | None:
        """Return what the server finds wrong with a script."""
        return fault_of(text, self.profile)

    def _with_sieve(self, response: Response) -> Response:
        session, extensions = response.json(), self.profile.sieve_extensions
        if extensions is None:
            session["capabilities"][CAPABILITY] = {}
        else:
            session["capabilities"][RFC_CAPABILITY] = {}
            account = session["accounts"][self.user]["accountCapabilities"]
            size = self.profile.max_sieve_bytes
            account[RFC_CAPABILITY] = {"maxSizeScript": size, "sieveExtensions": extensions}
        return dataclasses.replace(response, body=json.dumps(session).encode())

    def _jmap_methods(self) -> dict[str, tuple[str, Method]]:
        if not self.offers_sieve:
            return super()._jmap_methods()
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
        if len(self._sandbox.scripts) >= self._sandbox.profile.max_sieve_scripts:
            raise SetError("overQuota")
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
        if len(text.encode()) > self._sandbox.profile.max_sieve_bytes:
            raise SetError("tooLarge")
        if fault := self._sandbox.fault_of(text):
            raise SetError("invalidScript", description=f"{fault}\r\n")
        return text

    def _shown(self, script: Script) -> Arguments:
        return {
            "id": script.id,
            "name": script.name,
            "isActive": script.is_active,
            "blobId": self._sandbox.keep(script.text.encode(errors="surrogateescape")),
        }
