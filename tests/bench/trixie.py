"""A booted Debian 13 with Mailroom on it, by its own Python, pycurl and GnuTLS: for the figures."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import startup_probe
from tests.system import prepare, root
from tests.system.host import Host

PROGRAM = ("/usr/bin/python3", "/usr/lib/mailroom/mailroom.py", "run", "--config")
_CONFIG = "/etc/mailroom/bench.yaml"


@contextlib.contextmanager
def booted() -> Iterator[Host]:
    """Raises RuntimeError where none can be booted."""
    if obstacle := prepare.obstacle():
        raise RuntimeError(obstacle)
    with Host.boot(root.ensure(root.TRIXIE)) as host:
        yield host


def probe(host: Host, what: str, count: int, config: str) -> Any:
    """What :mod:`tests.bench.startup_probe` says, run in the host with this configuration."""
    host.write(_CONFIG, config)
    text = Path(startup_probe.__file__).read_text()
    variables = ("env", "MAILROOM_JMAP_PASSWORD=secret", "MAILROOM_CARDDAV_PASSWORD=secret")
    command = (*variables, "/usr/bin/python3", "-", what, str(count), *PROGRAM, _CONFIG)
    return json.loads(host.run(*command, stdin=text, timeout=600).stdout)
