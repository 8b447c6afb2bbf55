"""``mailroom check``: a tick per step."""

from collections.abc import Mapping

from mailroom.engine.accountfiles import AccountFile, AccountFiles, account_names
from mailroom.engine.accountsecrets import secrets_of
from mailroom.engine.clock import BoottimeClock
from mailroom.engine.configfile import load_of
from mailroom.engine.credentials import logins
from mailroom.engine.loop import Loop
from mailroom.engine.unit import Installation
from mailroom.errors import ConfigurationError, exit_code
from mailroom.rules.words import count
from mailroom.terminal.context import context_for
from mailroom.terminal.screen import output, tick
from mailroom.work.setup.check import Check, Finding, worst
from mailroom.work.setup.routing import Routing


def show_check(
    installation: Installation, environ: Mapping[str, str], *, rules: bool = False
) -> int:
    """Check everything, with ``rules`` the routing as well; returns the exit code.

    Raises ConfigurationError if there is nothing to check yet.
    """
    console = output()
    installation.existing_config()
    config = load_of(installation)
    tick(console, Finding("configuration", str(installation.file)))
    who = logins(config, credentials := secrets_of(installation, config, environ))
    given = ", ".join(
        f"{name} {how}" for name, how in credentials.sources.items() if how != "not set"
    )
    tick(console, Finding("credentials", given))
    context = context_for(config, who)
    check = Check(context.loop, config, context.clients)
    findings = context.run(check.run(lambda found: tick(console, found)))
    if rules and worst(findings) is None:
        findings.append(context.run(Routing(context.loop, config, context.clients).check()))
        tick(console, findings[-1])
    error = worst(findings)
    return exit_code(error) if error else 0


def show_files(installation: Installation) -> int:
    """Check the files of many accounts before they are reloaded. Raises ConfigurationError with all
    their problems."""
    console = output()
    read: list[AccountFile] = []
    loop = Loop(BoottimeClock())
    try:
        path = installation.config
        files = AccountFiles(path, account_names(path), load_of(installation))
        task = loop.spawn(files.each(loop, read.append), "files")
        while not task.done:
            loop.turn()
        task.result()
    finally:
        loop.close()
    if problems := [problem for each in read for problem in each.problems]:
        raise ConfigurationError(problems)
    told = f"{installation.config} and {count(len(read), 'account')}; --account NAME tries one"
    tick(console, Finding("configuration", told))
    return 0
