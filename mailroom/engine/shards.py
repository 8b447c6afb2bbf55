"""The shards of this host: which run here, and which one has an account.

A host has but some of them, and they come and go: whoever places them knows where each is, and
nobody here does. What runs here is seen by its sockets; the number of all shards by their names.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from mailroom.engine.unit import SHARDS, Installation, as_shard, find, usual_sockets
from mailroom.rules.configuration.shard import Shard

#: All of them, for whoever asks the journal about units.
EVERY_SHARD = "mailroom-shard@*"
_ROOT = Path("/")


def shard_socket(shard: Shard, environ: Mapping[str, str]) -> Path:
    """Where the shard listens, where nobody has named a socket for it."""
    usual = usual_sockets(environ)[0]
    return usual.parents[1] / SHARDS / shard.instance / usual.name


def shards_here(root: Path = _ROOT) -> list[Shard]:
    """Those that run on this host."""
    found = (root / "run" / SHARDS).glob("*/status.sock")
    shards = (Shard.of_instance(path.parent.name) for path in found)
    return sorted(shard for shard in shards if shard)


def services_here(root: Path = _ROOT) -> list[Installation]:
    """These shards, each as the service that it is."""
    system = find({}, socket=root / "run/mailroom/status.sock", root=root)
    return [as_shard(system, shard, root) for shard in shards_here(root)]


def placed(found: Installation, root: Path = _ROOT) -> Installation:
    """Where this host runs shards of the system's accounts, the one that a command is about: that
    of its account, which may be elsewhere, else the first. The same where it runs none, and where
    something else was named.

    Whether ``mailroom.service`` runs as well does not matter: its socket would start it, and it has
    no business beside shards.
    """
    shards = shards_here(root)
    is_theirs = found.shard is None and found.status_socket.parent == root / "run/mailroom"
    if not shards or not is_theirs or found.is_config_elsewhere:
        return found
    if found.member is None:
        return as_shard(found, shards[0], root)
    account = found.member
    having = [shard for shard in shards if shard.has(account)]
    return as_shard(found, [*having, Shard.having(account, shards[-1].count)][0], root)


def is_elsewhere(asked: Installation) -> bool:
    """Whether the account that a command is about is one of a shard that is not here."""
    is_one = asked.shard is not None and asked.member is not None
    return is_one and not os.path.exists(asked.status_socket)


def is_drained(asked: Installation, root: Path = _ROOT) -> bool:
    """Whether this host has run shards of these accounts since it was booted, and has none now, nor
    ``mailroom.service``: then they are all on others."""
    is_theirs = asked.shard is None and asked.status_socket.parent == root / "run/mailroom"
    has_had_some = (root / "run" / SHARDS).is_dir() and not shards_here(root)
    return is_theirs and has_had_some and not os.path.exists(asked.status_socket)
