"""The shards of this host: which run here, and which one has an account.

A host has only some of the shards, and they come and go: only the scheduler that places them knows
where each one is. Sockets show which shards run here; their names tell how many there are in all.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from mailroom.engine.unit import SHARDS, Installation, as_shard, find, usual_sockets
from mailroom.rules.configuration.shard import Shard

#: Pattern of all their units, for questions to the journal.
EVERY_SHARD = "mailroom-shard@*"
_ROOT = Path("/")


def shard_socket(shard: Shard, environ: Mapping[str, str]) -> Path:
    """Where the shard listens if no socket is named."""
    usual = usual_sockets(environ)[0]
    return usual.parents[1] / SHARDS / shard.instance / usual.name


def shards_here(root: Path = _ROOT) -> list[Shard]:
    """The shards that run on this host."""
    found = (root / "run" / SHARDS).glob("*/status.sock")
    shards = (Shard.of_instance(path.parent.name) for path in found)
    return sorted(shard for shard in shards if shard)


def services_here(root: Path = _ROOT) -> list[Installation]:
    """The services of these shards."""
    system = find({}, socket=root / "run/mailroom/status.sock", root=root)
    return [as_shard(system, shard, root) for shard in shards_here(root)]


def placed(found: Installation, root: Path = _ROOT) -> Installation:
    """The shard that a command is about, if this host runs shards of the system's accounts: the
    shard of its account, which may run elsewhere, else the first one. Returns ``found`` itself if
    no shards run here, or if something else was named.

    Whether ``mailroom.service`` runs as well does not matter: the mere request to its socket would
    start it, and it must not run beside shards.
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
    """Whether the account that a command is about belongs to a shard that is not on this host."""
    is_one = asked.shard is not None and asked.member is not None
    return is_one and not os.path.exists(asked.status_socket)


def is_drained(asked: Installation, root: Path = _ROOT) -> bool:
    """Whether this host has run shards of these accounts since its boot, and now runs neither
    shards nor ``mailroom.service``: then all shards are on other hosts."""
    is_theirs = asked.shard is None and asked.status_socket.parent == root / "run/mailroom"
    has_had_some = (root / "run" / SHARDS).is_dir() and not shards_here(root)
    return is_theirs and has_had_some and not os.path.exists(asked.status_socket)
