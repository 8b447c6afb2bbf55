"""The shards of this host, asked as if one service had all their accounts."""

from collections.abc import Sequence
from typing import Any, NoReturn

from mailroom.engine.shards import services_here
from mailroom.engine.unit import Installation
from mailroom.errors import MailroomError, UsageError
from mailroom.terminal.following import complain, teller
from mailroom.terminal.remote import Remote, which_account

_HEAD = ("# HELP ", "# TYPE ")


class Several:
    """The shards that run here, each a service of its own; at least one."""

    def __init__(self, services: Sequence[Installation]) -> None:
        self._remotes = {str(each.shard): Remote.of(each) for each in services}

    def status(self) -> dict[str, dict[str, Any]]:
        """The status of each by its shard; an ``error`` for one that does not answer."""
        found: dict[str, dict[str, Any]] = {}
        for shard, remote in self._remotes.items():
            try:
                found[shard] = dict(remote.status())
            except MailroomError as error:
                found[shard] = {"error": str(error)}
        return found

    def watch(self, *, as_json: bool = False, command: str | None = None) -> NoReturn:
        """Tell all events, including those of new shards; see :func:`following.teller`. Raises
        MailroomError if one of the shards cannot be asked."""
        from mailroom.terminal.followall import follow_all  # noqa: PLC0415 - brings pycurl

        for remote in self._remotes.values():
            remote.status()
        follow_all(services_here, teller(as_json=as_json, command=command), complain)

    def poll(self) -> None:
        """Have all poll now."""
        for remote in self._remotes.values():
            remote.poll()

    def metrics(self) -> str:
        """The metrics of all: for each metric one head, as Prometheus wants it, and all samples."""
        heads: dict[str, list[str]] = {}
        samples: dict[str, list[str]] = {}
        for remote in self._remotes.values():
            name = ""
            for line in filter(None, remote.metrics().splitlines()):
                if line.startswith(_HEAD):
                    name = line.split(" ")[2]
                    head = heads.setdefault(name, [])
                    head += [line] if line not in head else []
                else:
                    samples.setdefault(name, []).append(line)
        lines = (line for name, head in heads.items() for line in [*head, *samples.get(name, [])])
        return "".join(f"{line}\n" for line in lines)

    def which_account(self) -> UsageError:
        """The error if one of their accounts has to be named."""
        documents = [remote.status() for remote in self._remotes.values()]
        names = sorted(str(m["account"]) for each in documents for m in dict(each)["members"])
        return which_account(None, names, len(names))
