"""The commands but ``run``: each is told its options, and returns the exit code.

What a command needs it imports itself: a short one is done before the rest would be loaded.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mailroom import __version__
from mailroom.engine.accountfolder import account_file, account_names
from mailroom.engine.shards import EVERY_SHARD, is_drained, is_elsewhere, placed, services_here
from mailroom.engine.unit import Installation, find, usual_sockets
from mailroom.errors import UsageError

Command = Callable[[SimpleNamespace], int]

if TYPE_CHECKING:
    from mailroom.terminal.past import Past
    from mailroom.terminal.remote import Remote
    from mailroom.terminal.several import Several

# What was done lately: of everybody a week is shown, unless it is said otherwise.
_LOG_SECONDS = 7 * 86400.0


def check(options: SimpleNamespace) -> int:
    from mailroom.terminal.check import show_check, show_files  # noqa: PLC0415 - brings rich

    asked = _installation(options)
    if _has_many(asked) and not (options.rules or options.live):
        return show_files(asked)
    code = show_check(_of_one(asked), os.environ, rules=options.rules)
    if code == 0 and options.live:
        code = _check_live(options)
    if code == 0:
        sys.stdout.write("All is well.\n")
    return code


def _check_live(options: SimpleNamespace) -> int:
    from mailroom.terminal.live import show_live  # noqa: PLC0415 - brings rich

    asked, remote = _installation(options), _remote(options)
    return show_live(asked, os.environ, remote.status, options.within)


def init(options: SimpleNamespace) -> int:
    from mailroom.engine.unit import to_set_up  # noqa: PLC0415
    from mailroom.terminal.asking import asking  # noqa: PLC0415
    from mailroom.terminal.init import show_init  # noqa: PLC0415 - brings rich, yaml

    wanted = to_set_up(os.environ, account=options.account, config=options.config)
    if wanted.member or _has_many(wanted):
        name = wanted.member or "NAME"
        raise UsageError(
            f"many accounts are set up by their files: write {account_file(wanted.config, name)}, "
            f"then mailroom login --account {name}, mailroom setup --account {name} --apply, and "
            f"{' '.join(wanted.systemctl)} reload {wanted.unit}"
        )
    answers = asking(options, sys.stdin, may_ask=not options.check)
    return show_init(wanted, os.environ, answers, is_check=options.check)


def login(options: SimpleNamespace) -> int:
    from mailroom.terminal.login import show_login, try_handed  # noqa: PLC0415 - brings rich

    asked = _installation(options)
    if options.handed:
        return try_handed(asked, options.secret, options.handed)
    return show_login(asked, options)


def _has_many(asked: Installation) -> bool:
    """Whether it has many accounts, and none of them is named."""
    return asked.member is None and bool(account_names(asked.config))


def _of_one(asked: Installation) -> Installation:
    """The same. Raises UsageError where it has many accounts and none of them is named."""
    from mailroom.terminal.remote import which_account  # noqa: PLC0415

    names = account_names(asked.config) if asked.member is None else []
    if names:
        raise which_account(None, names, len(names))
    return asked


def config(options: SimpleNamespace) -> int:
    from mailroom.engine.accountsecrets import secrets_of  # noqa: PLC0415
    from mailroom.engine.configfile import load_of  # noqa: PLC0415
    from mailroom.rules.configuration.text import effective  # noqa: PLC0415 - brings yaml

    asked = _installation(options)
    config = load_of(asked)
    sys.stdout.write(effective(config, secrets_of(asked, config, os.environ).sources))
    return 0


def status(options: SimpleNamespace) -> int:
    if several := _several(options):
        return _status_of_shards(several, options)
    remote = _remote(options)
    document = remote.status()
    if options.json:
        from mailroom.terminal.lists import write_json  # noqa: PLC0415

        write_json(document)
        return 0
    if "members" in document:
        return _status_of_many(remote, document, options)
    from mailroom.terminal.status import show_status, watch  # noqa: PLC0415 - brings rich

    healthy = show_status(document)
    if options.watch:
        watch(remote, document)
    return 0 if healthy else 1


def _status_of_shards(several: "Several", options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import write_json  # noqa: PLC0415
    from mailroom.terminal.manystatus import show_shards  # noqa: PLC0415

    answers = several.status()
    if options.json:
        write_json({"shards": answers})
        return 0
    are_healthy = show_shards(answers, shows_all=options.all)
    if options.watch:
        several.watch()
    return 0 if are_healthy else 1


def _status_of_many(remote: "Remote", document: Mapping[str, Any], options: SimpleNamespace) -> int:
    from mailroom.terminal.following import show_events  # noqa: PLC0415
    from mailroom.terminal.manystatus import show_accounts  # noqa: PLC0415

    healthy = show_accounts(document, shows_all=options.all)
    if options.watch:
        show_events(remote)
    return 0 if healthy else 1


def watch(options: SimpleNamespace) -> int:
    from mailroom.terminal.following import show_events  # noqa: PLC0415

    if several := _several(options):
        several.watch(as_json=options.json, command=options.run)
    names = options.account is None
    show_events(_remote(options), as_json=options.json, command=options.run, names=names)
    return 0


def metrics(options: SimpleNamespace) -> int:
    from mailroom.terminal.textfiles import print_metrics, write_metrics  # noqa: PLC0415

    if options.into is not None:
        return write_metrics(options.into)
    return print_metrics(_several(options) or _remote(options))


def poll(options: SimpleNamespace) -> int:
    (_several(options) or _remote(options)).poll()
    return 0


def triage(options: SimpleNamespace) -> int:
    if options.dry_run:
        return _preview(options)
    from mailroom.terminal.deciding import decide  # noqa: PLC0415
    from mailroom.terminal.naming import whoever  # noqa: PLC0415

    *names, category = options.words
    who = whoever(names, options.kind)
    return decide(_remote(options), who, category, as_json=options.json)


def _preview(options: SimpleNamespace) -> int:
    from mailroom.engine.client import NobodyAnswers  # noqa: PLC0415
    from mailroom.terminal.triage import show_plan  # noqa: PLC0415 - brings rich

    if options.config is None and not options.handed:
        with contextlib.suppress(NobodyAnswers):
            return show_plan(_remote(options).plan(), as_json=options.json)
    return _with_secrets(_foresee)(options)


def _foresee(options: SimpleNamespace) -> int:
    """What a service would do, without one."""
    from mailroom.terminal.triage import show_triage  # noqa: PLC0415 - brings rich

    return show_triage(_of_one(_installation(options)), os.environ, as_json=options.json)


def undo(options: SimpleNamespace) -> int:
    from mailroom.terminal.deciding import take_back  # noqa: PLC0415
    from mailroom.terminal.naming import whoever  # noqa: PLC0415

    who = whoever(options.words, options.kind)
    return take_back(_remote(options), who, _past(options), as_json=options.json)


def waiting(options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import show_waiting  # noqa: PLC0415

    return show_waiting(_remote(options), as_json=options.json, counts=options.count)


def senders(options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import show_senders  # noqa: PLC0415

    remote, category = _remote(options), options.category
    return show_senders(remote, category, as_json=options.json, counts=options.count)


def sender(options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import show_sender  # noqa: PLC0415

    return show_sender(_remote(options), options.address, as_json=options.json)


def categories(options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import show_categories  # noqa: PLC0415

    return show_categories(_remote(options), as_json=options.json)


def log(options: SimpleNamespace) -> int:
    from mailroom.terminal.naming import whom  # noqa: PLC0415
    from mailroom.terminal.past import show_log  # noqa: PLC0415

    whose = whom(options.address) if options.address else None
    since = options.since
    if since is None and whose is None:
        since = time.time() - _LOG_SECONDS
    return show_log(_past(options), whose, since, as_json=options.json)


def export(options: SimpleNamespace) -> int:
    from mailroom.terminal.moving import show_decisions  # noqa: PLC0415

    return show_decisions(_remote(options))


def bring_in(options: SimpleNamespace) -> int:
    from mailroom.terminal.moving import bring_in  # noqa: PLC0415

    remote, file, category = _remote(options), options.file, options.category
    return bring_in(remote, file, category, applies=options.apply, as_json=options.json)


def screen(options: SimpleNamespace) -> int:
    from mailroom.terminal.screening.command import show_screen  # noqa: PLC0415 - brings urwid

    return show_screen(_here(options), os.environ)


def setup(options: SimpleNamespace) -> int:
    from mailroom.terminal.setup import show_setup  # noqa: PLC0415 - brings rich

    return show_setup(
        _of_one(_installation(options)),
        os.environ,
        apply=options.apply,
        rules=options.rules,
        lets_in=options.let_known_in,
    )


def reset(options: SimpleNamespace) -> int:
    from mailroom.terminal.reset import Wishes, show_reset  # noqa: PLC0415 - brings rich

    asked = _of_one(_installation(options))
    is_named = options.socket is not None or bool(asked.account or asked.member)
    sockets = [asked.status_socket] if is_named else usual_sockets(os.environ)
    wishes = Wishes(
        applies=options.apply,
        is_sure=options.yes,
        rules_are_off=options.rules_are_off,
        target=options.to,
        removes=options.remove,
        export=options.export,
    )
    if options.handed:
        wishes = replace(wishes, create=lambda _path: options.handed.writer("export"))
    return show_reset(asked, os.environ, sockets, wishes)


def version(_options: SimpleNamespace) -> int:
    sys.stdout.write(f"mailroom {__version__}\n")
    return 0


def _with_secrets(command: Command) -> Command:
    """The command, where it has the secrets that it needs."""

    def run(options: SimpleNamespace) -> int:
        from mailroom.terminal.secrets import run_with_secrets  # noqa: PLC0415

        return run_with_secrets(command, options, _installation(options))

    return run


COMMANDS: Mapping[str, Command] = {
    "categories": categories,
    "check": _with_secrets(check),
    "config": _with_secrets(config),
    "export": export,
    "import": bring_in,
    "init": init,
    "log": log,
    "login": login,
    "metrics": metrics,
    "poll": poll,
    "reset": _with_secrets(reset),
    "screen": screen,
    "sender": sender,
    "senders": senders,
    "setup": _with_secrets(setup),
    "status": status,
    "triage": triage,
    "undo": undo,
    "version": version,
    "waiting": waiting,
    "watch": watch,
}


def _installation(options: SimpleNamespace) -> Installation:
    """Which one the command is about."""
    named, handed = vars(options), options.handed
    account, has_own = named.get("account"), handed is not None and "account" in handed.files
    found = find(
        {} if handed else os.environ,
        # Whose file is handed over is one of many, of a folder that is not to be seen from here.
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


def _here(options: SimpleNamespace) -> Installation:
    """The same, for a command that asks its service. Raises NobodyAnswers where an account is named
    whose shard is elsewhere, or all are, and UsageError where there are several, and none is
    named."""
    from mailroom.engine.client import NobodyAnswers  # noqa: PLC0415

    asked = _installation(options)
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
    if several := _several(options):
        raise several.which_account()
    return asked


def _several(options: SimpleNamespace) -> "Several | None":
    """The shards of this host, where there are any and none of their accounts is named: they are
    meant together."""
    asked = _installation(options)
    if asked.shard is None or asked.member is not None or options.socket is not None:
        return None
    from mailroom.terminal.several import Several  # noqa: PLC0415

    return Several(services_here())


def _remote(options: SimpleNamespace) -> "Remote":
    from mailroom.terminal.remote import Remote  # noqa: PLC0415

    return Remote.of(_here(options))


def _past(options: SimpleNamespace) -> "Past":
    from mailroom.engine.journalctl import Journal  # noqa: PLC0415
    from mailroom.terminal.past import Past  # noqa: PLC0415
    from mailroom.terminal.remote import Remote  # noqa: PLC0415

    asked = _installation(options)
    remote = Remote.of(asked) if _several(options) else _remote(options)
    # Accounts move from one shard to another, and shards from host to host.
    unit = EVERY_SHARD if asked.shard else asked.unit
    journal = Journal(unit, is_system=asked.is_system) if unit else None
    return Past(remote, journal, asked.member)
