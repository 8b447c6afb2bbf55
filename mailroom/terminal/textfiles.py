"""``mailroom metrics``: a service's metrics for Prometheus; with ``--into``, those of every service
of the host, as files for node_exporter's textfile collector.

The collector may read each ``*.prom`` of its folder at any time, so a file gets its name only when
it is whole. It accepts no sample twice, so each has the label ``unit``. The file of a service that
does not answer has only ``mailroom_up 0``; if its socket is gone, the file is removed.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from mailroom.engine.shards import services_here
from mailroom.engine.unit import Installation, of_this_host
from mailroom.errors import LastingTrouble, MailroomError
from mailroom.terminal.remote import Remote
from mailroom.terminal.several import Several

_UP = "mailroom_up"
# A sample's name, and its labels if it has any; a line that begins with # is not a sample.
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})?(?= \S+$)", re.MULTILINE)
_OURS = re.compile(r"mailroom(?:@[A-Za-z0-9_-]+|-shard@[0-9]+-[0-9]+)?\.prom")
_READABLE = 0o644


def print_metrics(remote: Remote | Several) -> int:
    """Print the metrics of the service, or of several shards together."""
    sys.stdout.write(remote.metrics())
    return 0


def write_metrics(folder: Path, root: Path = Path("/")) -> int:
    """Write a file for every service of the host, and remove those of services that are gone.

    Raises LastingTrouble if the folder cannot be written to.
    """
    services = [*of_this_host(root), *services_here(root)]
    texts = {f"{service.unit}.prom": _text(service) for service in services}
    try:
        for name, text in texts.items():
            _write(folder / name, text)
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in texts:
                path.unlink()
    except OSError as error:
        raise LastingTrouble(
            f"the metrics cannot be written to {folder}: {error.strerror}; name the folder of"
            " node_exporter's --collector.textfile.directory"
        ) from error
    return 0


def _text(service: Installation) -> str:
    try:
        metrics = Remote.of(service).metrics()
    except MailroomError:
        metrics = ""
    about = f"# HELP {_UP} 1 when the service answers.\n# TYPE {_UP} gauge\n"
    text = f"{about}{_UP} {1 if metrics else 0}\n{metrics}"
    return _SAMPLE.sub(lambda found: _labelled(found, service.unit or ""), text)


def _labelled(sample: re.Match[str], unit: str) -> str:
    name, labels = sample.groups()
    return f'{name}{{unit="{unit}"{f",{labels}" if labels else ""}}}'


def _write(path: Path, text: str) -> None:
    """Write the whole file, or leave the old one."""
    # The collector ignores a name that does not end in .prom.
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), _READABLE)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
