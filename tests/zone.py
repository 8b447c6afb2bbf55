"""A name server for tests that knows what it is told, by records as in a zone file."""

import socket
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = Mapping[tuple[str, str], Sequence[str]]


class Zone:
    """Answers at ``server`` (a bound UDP socket) by ``records``: (name, type) -> values, without
    the last dot of the name. Names that nothing is said of do not exist. ``is_silent``: it never
    answers; ``is_broken``: it fails (SERVFAIL)."""

    def __init__(
        self,
        records: Records,
        server: socket.socket | None = None,
        *,
        is_silent: bool = False,
        is_broken: bool = False,
    ) -> None:
        self.questions: list[str] = []
        self._records = records
        self._is_silent, self._is_broken = is_silent, is_broken
        if server is None:
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.bind(("127.0.0.1", 0))
        self._socket = server
        self._socket.settimeout(0.05)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()
        return host, port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._is_over.is_set():
            try:
                data, asker = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            question = dns.message.from_wire(data)
            self.questions.append(question.question[0].to_text())
            if not self._is_silent:
                self._socket.sendto(self._answer(question).to_wire(), asker)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(asked.rdtype)
        if self._is_broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif found := self._records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *found))
        elif not any(known == name or known.endswith(f".{name}") for known, _ in self._records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
