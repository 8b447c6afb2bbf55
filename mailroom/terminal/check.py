"""``mailroom check``: a tick per step."""

from collections.abc import Mapping

from rich.console import Console

from mailroom.engine.configfile import load_of
from mailroom.engine.credentials import load_credentials, logins
from mailroom.engine.unit import Installation
from mailroom.errors import exit_code
from mailroom.terminal.desk import prepare
from mailroom.terminal.screen import tick
from mailroom.work.check import Check, Finding, worst
from mailroom.work.routing import Routing


def show_check(
    installation: Installation, environ: Mapping[str, str], *, rules: bool = False
) -> int:
    """Check everything, with ``rules`` the routing as well; returns the exit code.

    Raises ConfigurationError where there is nothing yet to check.
    """
    console = Console(highlight=False, soft_wrap=True)
    path = installation.existing_config()
    config = load_of(installation)
    tick(console, Finding("configuration", str(path)))
    who = logins(config, credentials := load_credentials(environ))
    given = ", ".join(
        f"{name} {how}" for name, how in credentials.sources.items() if how != "not set"
    )
    tick(console, Finding("credentials", given))
    desk = prepare(config, who)
    check = Check(desk.loop, config, desk.talks)
    findings = desk.run(check.run(lambda found: tick(console, found)))
    if rules and worst(findings) is None:
        findings.append(desk.run(Routing(desk.loop, config, desk.talks).check()))
        tick(console, findings[-1])
    error = worst(findings)
    return exit_code(error) if error else 0
