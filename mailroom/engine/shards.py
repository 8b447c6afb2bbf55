"""Where the shards of this host are."""

from collections.abc import Mapping
from pathlib import Path

from mailroom.engine.unit import usual_sockets
from mailroom.rules.configuration.shard import Shard

_FOLDER = "mailroom-shard"


def shard_socket(shard: Shard, environ: Mapping[str, str]) -> Path:
    """Where the shard listens, where nobody has named a socket for it."""
    usual = usual_sockets(environ)[0]
    return usual.parents[1] / _FOLDER / shard.instance / usual.name
