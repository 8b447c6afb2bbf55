"""A Cyrus that was built into a folder, with a configuration of the tests' own on loopback.

The tests are told the folder and nothing else. They start its ``master``, as a user that every
system has, and stop it by its process id; nothing is written but in a folder that is removed.
"""

import contextlib
import imaplib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.contract.peers import NO_HEADERS, SENDER, drag, message, send

_LOOPBACK = "127.0.0.1"
_USER, _GROUP = "nobody", "nogroup"
_START_SECONDS = 30.0

_IMAPD_CONF = """\
configdirectory: {home}/conf
partition-default: {home}/spool
defaultsearchtier: t1
t1searchpartition-default: {home}/search
search_engine: xapian
conversations: yes
conversations_db: twoskip
altnamespace: no
unixhierarchysep: yes
admins: admin
cyrus_user: {user}
cyrus_group: {group}
delete_mode: immediate
httpmodules: admin carddav jmap
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {home}/conf/sasldb2
sasl_mech_list: PLAIN LOGIN
sync_log: yes
sync_log_channels: squatter
jmap_pushpoll: {push_poll}
jmap_nonstandard_extensions: yes
idlesocket: {home}/conf/socket/idle
lmtpsocket: {home}/conf/socket/lmtp
notifysocket: {home}/conf/socket/notify
sievedir: {home}/sieve
"""

_CYRUS_CONF = """\
START {{
  recover cmd="{folder}/sbin/ctl_cyrusdb -C {home}/imapd.conf -r"
  idled   cmd="{folder}/libexec/idled -C {home}/imapd.conf"
}}
SERVICES {{
  imap cmd="{folder}/libexec/imapd -C {home}/imapd.conf" listen="{imap}"
  http cmd="{folder}/libexec/httpd -C {home}/imapd.conf" listen="{http}" maxchild=50
  lmtp cmd="{folder}/libexec/lmtpd -C {home}/imapd.conf -a" listen="{lmtp}"
}}
DAEMON {{
  indexer cmd="{folder}/sbin/squatter -C {home}/imapd.conf -R"
}}
"""


class CyrusFolder:
    """A Cyrus from a folder, running, with one user.

    Args:
        folder: Where it was built into.
        push: EventSource works; without it, the session names no ``eventSourceUrl``.
    """

    kind = "cyrus-3.13"
    queues = False
    user = "alice"
    password = "secret"
    session_path = "/jmap/"
    book_path = f"/dav/addressbooks/user/{user}/Default/"

    def __init__(self, folder: Path, *, push: bool = True) -> None:
        told = subprocess.run(
            [f"{folder}/libexec/master", "-V"], capture_output=True, text=True, check=True
        )
        self.version = f"Cyrus {told.stdout.split()[-1].partition('-g')[0]}"
        self._home = Path(tempfile.mkdtemp(prefix="cyrus-"))
        self._imap, http, self._lmtp = (f"{_LOOPBACK}:{free_port()}" for _ in range(3))
        self.url = f"http://{http}"
        places = {"home": self._home, "folder": folder, "user": _USER, "group": _GROUP}
        places["push_poll"] = "1s" if push else "0"
        ports = {"imap": self._imap, "http": http, "lmtp": self._lmtp}
        self._write("imapd.conf", _IMAPD_CONF.format_map(places))
        self._write("cyrus.conf", _CYRUS_CONF.format_map(places | ports))
        for name in ("conf/socket", "spool", "search", "sieve"):
            (self._home / name).mkdir(parents=True)
        self._set_password("admin")
        subprocess.run(["chown", "-R", f"{_USER}:{_GROUP}", str(self._home)], check=True)
        self._home.chmod(0o755)
        self._master = self._start(folder)
        try:
            self.create_account(self.user)
        except BaseException:
            self.close()
            raise

    def create_account(self, name: str) -> None:
        """A further user with an empty Inbox, and the same password."""
        self._set_password(name)
        with self._administration() as imap:
            imap.login("admin", self.password)
            imap.create(f"user/{name}")
            imap.setacl(f"user/{name}", "admin", "lrswipkxtecda")

    def deliver(
        self,
        from_header: str | None,
        subject: str,
        sender: str = SENDER,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        send(self._lmtp, self.user, sender, message(from_header, subject, headers))

    def drag(self, subject: str, source: str, destination: str) -> Iterator[str]:
        return drag(self._imap, self.user, self.password, subject, source, destination)

    def close(self) -> None:
        """Stop it, and everything that it has started: they are one process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._master.pid, signal.SIGTERM)
        try:
            self._master.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._master.pid, signal.SIGKILL)
            self._master.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        command = [f"{folder}/libexec/master", "-D", "-p", f"{self._home}/master.pid"]
        command += ["-C", f"{self._home}/imapd.conf", "-M", f"{self._home}/cyrus.conf"]
        with (self._home / "log").open("wb") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _administration(self) -> imaplib.IMAP4:
        """A connection, once the server answers."""
        host, _, port = self._imap.partition(":")
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return imaplib.IMAP4(host, int(port), timeout=_START_SECONDS)
            except OSError:
                if time.monotonic() > deadline or self._master.poll() is not None:
                    raise

    def _set_password(self, name: str) -> None:
        database = str(self._home / "conf/sasldb2")
        command = ["saslpasswd2", "-p", "-c", "-f", database, name]
        subprocess.run(command, input=self.password.encode(), check=True)

    def _write(self, name: str, text: str) -> None:
        (self._home / name).write_text(text, encoding="utf-8")


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((_LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port
