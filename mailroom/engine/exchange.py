"""One HTTP exchange as libcurl sees it: the easy handle, its callbacks, and what has come so far.

The timeouts are our own, judged by the progress that the callbacks note. None of libcurl's is set:
they would block the process while a name is being resolved.
"""

import io
import re
import socket
from http import HTTPStatus
from urllib.parse import urlsplit

import pycurl

from mailroom.engine.loop import Loop, Promise, Timer
from mailroom.errors import MailroomError, ProtocolError, TooLarge, TransientError, Untrusted
from mailroom.wire.http import Request, Response

CONNECT_SECONDS = 10.0  # including the name look-up

_STATUS_LINE = re.compile(r"HTTP/[0-9.]+ +([0-9]{3})")
_LINE_BREAK = re.compile(r"[\r\n\0]")

# What every libcurl and every server has. Offered Brotli as well (PyPI's wheels have it), Cyrus
# 3.10.2 takes that, and 0.8 s of CPU to pack an answer with 4,096 mails into 49 kB; by gzip it is
# 63 kB, and the whole answer takes 0.17 s (seen).
_ENCODING = "gzip"

# Events are short, and there is a stream for each account.
_STREAM_BUFFER_BYTES = 2048

# The kernel finds a dead path within two minutes, also where the server never pings.
_KEEPALIVE_IDLE_SECONDS, _KEEPALIVE_INTERVAL_SECONDS, _KEEPALIVE_PROBES = 60, 15, 4


class Exchange:
    """One request on its way: the easy handle, what has come so far, and the promise for it.

    ========= ========================================= ================================
    phase     libcurl                                   our deadline, or nobody waits
    ========= ========================================= ================================
    new       looks at it: resolving                    released
    resolving opens a socket: under way; ends: released parked, as it may not be removed
    under way ends: released                            released
    parked    ends: released
    ========= ========================================= ================================
    """

    def __init__(self, loop: Loop, request: Request) -> None:
        self.request = request
        self.answer: Promise[Response] = Promise()
        self.has_begun = False  # libcurl has looked at it
        self.is_parked = False
        self.timeout: Timer | None = None
        self._loop = loop
        self._status = 0
        self._headers: dict[str, str] = {}
        self._has_head = False
        self._is_between_heads = True
        self._body = io.BytesIO()  # joining a list of chunks would hold the body twice
        self._too_large = False
        self._has_socket = False
        self._started = self._last_progress = loop.now()
        self._uploaded = self._downloaded = 0

    def prepare(self, user_agent: str, ca_info: str) -> pycurl.Curl:
        """The easy handle. Raises ValueError if the request cannot be encoded as HTTP."""
        self.curl = curl = pycurl.Curl()
        request = self.request
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.USERAGENT, user_agent)
        curl.setopt(pycurl.SOCKOPTFUNCTION, self._on_new_socket)
        curl.setopt(pycurl.HEADERFUNCTION, self._on_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._on_body)
        curl.setopt(pycurl.XFERINFOFUNCTION, self._on_progress)
        curl.setopt(pycurl.NOPROGRESS, 0)
        if request.unix_socket:
            curl.setopt(pycurl.UNIX_SOCKET_PATH, request.unix_socket)
        if urlsplit(request.url).scheme == "http":
            curl.setopt(pycurl.PROXY, "")  # loopback only: no proxy is to see it
        elif ca_info:
            curl.setopt(pycurl.CAINFO, ca_info)
            # Without a CA directory libcurl shares the parsed bundle between connections;
            # with one, each connection loads its own 3.9 MiB (seen: Debian 13, GnuTLS).
            curl.unsetopt(pycurl.CAPATH)
        self._set_method(curl)
        self._set_headers(curl)
        if request.digest:
            curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_DIGEST)
            curl.setopt(pycurl.USERNAME, request.digest[0].encode())
            curl.setopt(pycurl.PASSWORD, request.digest[1].encode())
        return curl

    def _set_method(self, curl: pycurl.Curl) -> None:
        if self.request.body is not None or self.request.method == "POST":
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, self.request.body or b"")
        if self.request.method not in ("GET", "POST"):
            curl.setopt(pycurl.CUSTOMREQUEST, self.request.method)

    def _set_headers(self, curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.ACCEPT_ENCODING, _ENCODING)
        headers = [f"{name}: {value}" for name, value in self.request.headers.items()]
        if any(map(_LINE_BREAK.search, headers)):
            raise ValueError("a header with a line break")  # ETags and event ids come from outside
        # No "100 Continue" before a large body: that would cost a round trip.
        curl.setopt(pycurl.HTTPHEADER, [header.encode() for header in [*headers, "Expect:"]])

    def deadline(self) -> float:
        connecting: float = self.curl.getinfo(pycurl.PRETRANSFER_TIME)
        if not connecting:
            return self._started + CONNECT_SECONDS
        since = max(self._last_progress, self._started + connecting)
        return since + self.request.patience_seconds

    def overdue(self) -> str | None:
        """Why this exchange has to end now; None if it may go on."""
        if self._loop.now() < self.deadline():
            return None
        if self.is_connected():
            return f"the server has sent nothing for {self.request.patience_seconds:.0f} s"
        what = "the name was not resolved" if self.is_resolving() else "no connection"
        return f"{what} within {CONNECT_SECONDS:.0f} s"

    def is_watched(self) -> bool:
        return not self.is_parked

    def is_resolving(self) -> bool:
        return self.has_begun and not self._has_socket and not self.is_connected()

    def fail(self, error: MailroomError) -> None:
        self.answer.reject(error)

    def ended(self, number: int, message: str) -> None:
        """libcurl has finished: ``number`` is 0, or one of libcurl-errors(3)."""
        if self._too_large:
            limit = self.request.limit_bytes // 1024**2
            self.fail(TooLarge(f"{self.request}: the answer is larger than {limit} MiB"))
        elif number:
            self.fail(self._kind(number)(f"{self.request}: {self._explain(number, message)}"))
        elif not self._has_head:  # libcurl takes the end of the connection for the end of the head
            self.fail(TransientError(f"{self.request}: the answer ended in the middle of its head"))
        else:
            self.succeed()

    def succeed(self) -> None:
        self.answer.resolve(self.response(self._body.getvalue()))

    def response(self, body: bytes) -> Response:
        info = self.curl.getinfo
        sent = info(pycurl.REQUEST_SIZE)
        if sent < self._uploaded:  # then it is without the body (libcurl < 8, large bodies)
            sent += self._uploaded
        received = info(pycurl.HEADER_SIZE) + self._downloaded
        return Response(self._status, self._headers, body, self.request.url, sent, received)

    def is_connected(self) -> bool:
        return bool(self.curl.getinfo(pycurl.PRETRANSFER_TIME) > 0)

    def _kind(self, number: int) -> type[MailroomError]:
        if number in _NOT_HTTP:
            return ProtocolError
        is_untrusted = number == pycurl.E_SSL_CACERT and self._verdict() is None
        return Untrusted if is_untrusted else TransientError

    def _verdict(self) -> str | None:
        """What is wrong with the certificate, other than its authority."""
        return _VERDICTS.get(self.curl.getinfo(pycurl.SSL_VERIFYRESULT))

    def _explain(self, number: int, message: str) -> str:
        advice = _ADVICE.get(number)
        if number == pycurl.E_SSL_CACERT:
            advice = self._verdict() or advice
        told = f"{advice} ({message})" if advice and message else advice or message
        to_do = _TO_DO.get(number)
        return (told or f"error {number}") + (f": {to_do}" if to_do else "")

    def _on_new_socket(self, fd: int, _purpose: int) -> int:
        if self.is_parked:
            return int(pycurl.SOCKOPT_ERROR)  # its caller has gone: send nothing any more
        self._has_socket = True
        if self.request.unix_socket:
            return int(pycurl.SOCKOPT_OK)  # its other end is on this machine
        connection = socket.socket(fileno=fd)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (
                (socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_SECONDS),
                (socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_SECONDS),
                (socket.TCP_KEEPCNT, _KEEPALIVE_PROBES),
            ):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
        finally:
            connection.detach()
        return int(pycurl.SOCKOPT_OK)

    def _on_header(self, line: bytes) -> None:
        self._last_progress = self._loop.now()
        text = line.decode("latin-1").rstrip("\r\n")
        # Only where a head begins: a header may look the same, and an exception here would end up
        # in libcurl.
        status = _STATUS_LINE.match(text) if self._is_between_heads else None
        self._is_between_heads = not text
        if status:
            self._status, self._headers, self._has_head = int(status[1]), {}, False
        elif self._has_head:
            pass  # a trailer
        elif text:
            name, _, value = text.partition(":")
            name, value = name.lower(), value.strip()
            known = self._headers.get(name)
            self._headers[name] = value if known is None else f"{known}, {value}"
        # After a lower status another head follows (RFC 9110 §15.2).
        elif self._status >= HTTPStatus.OK and line.endswith(b"\n"):  # a lone CR is a cut-off head
            self._has_head = True
            self.on_head()

    def on_head(self) -> None:
        """The head of the answer is complete."""

    def _on_progress(self, _to_come: int, come: int, _to_go: int, gone: int) -> None:
        if (come, gone) != (self._downloaded, self._uploaded):
            self._downloaded, self._uploaded = come, gone
            self._last_progress = self._loop.now()

    def _on_body(self, chunk: bytes) -> int:
        self._last_progress = self._loop.now()
        if self._body.tell() + len(chunk) > self.request.limit_bytes:
            self._too_large = True
            return 0
        return self._body.write(chunk)


class StreamExchange(Exchange):
    """An exchange whose body is read as it comes. Its reader judges silence."""

    def __init__(self, loop: Loop, request: Request) -> None:
        super().__init__(loop, request)
        self.head: Promise[Response] = Promise()
        self.abandon = _nothing
        self._chunks: list[bytes] = []
        self._error: MailroomError | None = None
        self._has_ended = False
        self._reader: Promise[bytes] | None = None

    def read(self) -> Promise[bytes]:
        if self._reader is None or self._reader.done:
            self._reader = Promise()
            self._serve_reader()
        return self._reader

    def close(self) -> None:
        self._has_ended = True
        self.abandon()
        self._chunks = []  # the handle and we are a cycle, collected late: keep no data until then
        self._serve_reader()

    def is_watched(self) -> bool:
        return not self.head.done and super().is_watched()

    def _set_headers(self, curl: pycurl.Curl) -> None:
        super()._set_headers(curl)
        # A compressed stream may get stuck in a buffer; if one comes all the same, it is decoded.
        curl.setopt(pycurl.ACCEPT_ENCODING, "identity")
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.FRESH_CONNECT, 1)
        curl.setopt(pycurl.BUFFERSIZE, _STREAM_BUFFER_BYTES)

    def on_head(self) -> None:
        self._loop.call_soon(self._tell_head)  # libcurl may not be called from its callback

    def fail(self, error: MailroomError) -> None:
        self._tell_head(is_last=True)
        self._error, self._has_ended = error, True
        self.head.reject(error)
        self._serve_reader()

    def succeed(self) -> None:
        self._tell_head(is_last=True)
        self._has_ended = True
        self._serve_reader()

    def _tell_head(self, *, is_last: bool = False) -> None:
        is_news = self._has_head and not self._has_ended and not self.head.done
        if self.request.digest and self._status == HTTPStatus.UNAUTHORIZED and not is_last:
            return  # libcurl will answer this challenge
        if is_news and self.curl.getinfo(pycurl.RESPONSE_CODE):  # 0: that head was the proxy's
            self.head.resolve(Response(self._status, self._headers, url=self.request.url))
            if self.timeout:  # silence is its reader's business from now on
                self.timeout.cancel()

    def _on_body(self, chunk: bytes) -> int:
        self._chunks.append(chunk)
        self._loop.call_soon(self._serve_reader)
        return len(chunk)

    def _serve_reader(self) -> None:
        if self._reader is None or self._reader.done:
            return
        if self._chunks:
            chunks, self._chunks = self._chunks, []
            self._reader.resolve(b"".join(chunks))
        elif self._error is not None:
            self._reader.reject(self._error)
        elif self._has_ended:
            self._reader.resolve(b"")


def _nothing() -> None:
    pass


_ADVICE = {
    pycurl.E_URL_MALFORMAT: "this is not a URL",
    pycurl.E_COULDNT_RESOLVE_HOST: "the name does not resolve",
    pycurl.E_COULDNT_CONNECT: "nobody answers there",
    pycurl.E_SSL_CONNECT_ERROR: "no TLS connection",
    pycurl.E_SSL_CACERT: (
        "its certificate is not trusted (if it is signed by an authority of your own, name that "
        "in tls.ca_file)"
    ),
    pycurl.E_GOT_NOTHING: "the server closed the connection without an answer",
    pycurl.E_PARTIAL_FILE: "the answer ended in the middle",
    pycurl.E_SSL_CACERT_BADFILE: "tls.ca_file cannot be read",
}

_TO_DO = {
    pycurl.E_COULDNT_RESOLVE_HOST: "check the name, and the network",
    pycurl.E_COULDNT_CONNECT: "check host and port, and whether the server runs",
    # Stalwart 0.15.5 closes every connection from a banned address (seen).
    pycurl.E_GOT_NOTHING: "if it does so every time, it may have banned this address",
    pycurl.E_SSL_CONNECT_ERROR: "check whether it speaks https at that port",
}

_ANOTHER_HOST = "its certificate is that of another host"
_EXPIRED = "its certificate has expired (or this machine's clock is wrong)"

# What the TLS library says of the certificate, if its authority is trusted.
_VERDICTS = {
    # Nothing is said against the chain: 0 by GnuTLS, 1 (X509_V_ERR_UNSPECIFIED) by OpenSSL.
    0: _ANOTHER_HOST,
    1: _ANOTHER_HOST,
    10: _EXPIRED,  # X509_V_ERR_CERT_HAS_EXPIRED
    1 << 10 | 1 << 1: _EXPIRED,  # GNUTLS_CERT_EXPIRED | GNUTLS_CERT_INVALID
}

# The URL is malformed or not HTTP's, or the answer is not HTTP.
_NOT_HTTP = (pycurl.E_URL_MALFORMAT, pycurl.E_UNSUPPORTED_PROTOCOL)
