"""What a mail app on a phone does when a label is tapped, or a mail moved: one Email/set
(RFC 8621 §4.6)."""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mailroom.errors import MailroomError

_USING = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"]
_TIMEOUT_SECONDS = 5.0
_OK = 200


class Phone:
    """One user's phone; ``authorization`` is the header that the server accepts."""

    def __init__(self, url: str, user: str, authorization: str) -> None:
        self._host = urlsplit(url).netloc
        self.user = user
        self.authorization = authorization

    def put_label(self, mail_id: str, mailbox_id: str) -> None:
        """Put a mail into one mailbox more, or raise MailroomError."""
        self._set(mail_id, label_request(self.user, mail_id, mailbox_id), "put the label on")

    def move(self, mail_id: str, source_id: str, destination_id: str) -> None:
        """Take a mail out of one mailbox and put it into another, or raise MailroomError."""
        patch = {f"mailboxIds/{source_id}": None, f"mailboxIds/{destination_id}": True}
        self._set(mail_id, _request(self.user, {mail_id: patch}), "move the mail")

    def _set(self, mail_id: str, request: object, what: str) -> None:
        [[name, arguments, _]] = self._post(request)["methodResponses"]
        if name != "Email/set" or mail_id not in (arguments["updated"] or {}):
            raise MailroomError(f"the phone could not {what}: {arguments}")

    def _post(self, content: object) -> Any:
        connection = http.client.HTTPConnection(self._host, timeout=_TIMEOUT_SECONDS)
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        try:
            connection.request("POST", "/jmap/", json.dumps(content), headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != _OK:
            raise MailroomError(f"the mail server answered the phone with HTTP {response.status}")
        return json.loads(body)


def label_request(user: str, mail_id: str, mailbox_id: str) -> dict[str, Any]:
    """Return the request that puts a mail into one mailbox more."""
    return _request(user, {mail_id: {f"mailboxIds/{mailbox_id}": True}})


def _request(user: str, update: Mapping[str, Mapping[str, bool | None]]) -> dict[str, Any]:
    call = ["Email/set", {"accountId": user, "update": update}, "0"]
    return {"using": _USING, "methodCalls": [call]}
