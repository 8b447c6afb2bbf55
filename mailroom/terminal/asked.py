"""Which service and account a command is about, from its options, and how to ask them.

A host may have shards: without an account or a socket, a command is about all of them together.
"""

import os
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

from mailroom.engine.accountfolder import account_names
from mailroom.engine.shards import EVERY_SHARD, is_drained, is_elsewhere, placed, services_here
from mailroom.engine.unit import Installation, find

if TYPE_CHECKING:
    from mailroom.terminal.past import Past
    from mailroom.terminal.remote import Remote
    from mailroom.terminal.several import Several


def installation_of(options: SimpleNamespace) -> Installation:
    """The installation that the command is about."""
    named, handed = vars(options), options.handed
    account, has_own = named.get("account"), handed is not None and "account" in handed.files
    found = find(
        {} if handed else os.environ,
        # An account whose file is handed over is one of many, in a folder that we cannot see.
        account=None if has_own else account,
        config=named.get("config"),
        socket=named.get("socket"),
    )
    if named.get("socket") is None:
        found = placed(found)
    if handed and found.is_config_elsewhere:
        found = replace(found, content=handed.read("config"))
    if has_own:
        return replace(found, member=account, member_content=handed.read("account"))
    return found


def service_of(options: SimpleNamespace) -> Installation:
    """The same for a command that asks the service. Raises NobodyAnswers if the shard of the named
    account, or every shard, is on another host, and UsageError if there are several shards and no
    account is named."""
    from mailroom.engine.client import NobodyAnswers  # noqa: PLC0415

    asked = installation_of(options)
    if options.socket is None and is_drained(asked):
        raise NobodyAnswers(
            "no shard runs on this host any more: look for their accounts on another (crm_mon -1 "
            "says where, if Pacemaker places the shards)"
        )
    if is_elsewhere(asked):
        raise NobodyAnswers(
            f"{asked.member} is an account of shard {asked.shard}, which does not run on this host:"
            " look for it on another (crm_mon -1 says where, if Pacemaker places the shards)"
        )
    if several := shards_of(options):
        raise several.which_account()
    return asked


def shards_of(options: SimpleNamespace) -> "Several | None":
    """The shards of this host, if there are any and none of their accounts is named: then all are
    meant together."""
    asked = installation_of(options)
    if asked.shard is None or asked.member is not None or options.socket is not None:
        return None
    from mailroom.terminal.several import Several  # noqa: PLC0415

    return Several(services_here())


def remote_of(options: SimpleNamespace) -> "Remote":
    from mailroom.terminal.remote import Remote  # noqa: PLC0415

    return Remote.of(service_of(options))


def past_of(options: SimpleNamespace) -> "Past":
    from mailroom.engine.journalctl import Journal  # noqa: PLC0415
    from mailroom.terminal.past import Past  # noqa: PLC0415
    from mailroom.terminal.remote import Remote  # noqa: PLC0415

    asked = installation_of(options)
    remote = Remote.of(asked) if shards_of(options) else remote_of(options)
    # Accounts move from one shard to another, and shards from host to host.
    unit = EVERY_SHARD if asked.shard else asked.unit
    journal = Journal(unit, is_system=asked.is_system) if unit else None
    return Past(remote, journal, asked.member)


def has_many(asked: Installation) -> bool:
    """Whether the installation has many accounts and none of them is named."""
    return asked.member is None and bool(account_names(asked.config))


def of_one(asked: Installation) -> Installation:
    """The installation itself. Raises UsageError if it has many accounts and none is named."""
    from mailroom.terminal.remote import which_account  # noqa: PLC0415

    names = account_names(asked.config) if asked.member is None else []
    if names:
        raise which_account(None, names, len(names))
    return asked
