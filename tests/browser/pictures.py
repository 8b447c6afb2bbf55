"""The pictures of the documentation: ``make pictures`` takes them anew, into docs/images.

The senders are made up (seeds.py), so that no picture shows anybody's mail.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.browser import digest, seeds
from tests.browser.cockpit import MAY_DECIDE, WITH_BROWSER, Cockpit, Person
from tests.browser.webdriver import Browser
from tests.say import say
from tests.system import prepare, root
from tests.system.host import Host
from tests.system.unit import PROJECT

IMAGES = PROJECT / "docs/images"
SIZES = {"wide": (1240, 640), "narrow": (360, 640)}
VIEWS = ("waiting", "senders", "log", "health")
_ROW = "[role=row]"

# What the journal has: event, sender, category, the one before, mails, by whom, trigger.
_JOURNAL = (
    ("sender_triaged", "cheap@pills.example", "Jail", "", 3, "", "push"),
    ("sender_triaged", "offers@harbour.example", "Billboard", "", 2, "anna", "command"),
    ("sender_triaged", "alma@reyes.example", "Imbox", "", 1, "", "push"),
    ("sender_retriaged", "alma@reyes.example", "Person", "Imbox", 4, "anna", "command"),
    ("domain_triaged", "shop.example", "Billboard", "", 6, "anna", "command"),
)


def main() -> int:
    """Take them all; 1 and a line on stderr where no host can be booted."""
    if obstacle := prepare.obstacle():
        print(f"pictures: {obstacle}", file=sys.stderr)  # noqa: T201
        return 1
    IMAGES.mkdir(exist_ok=True)
    with Host.boot(root.ensure(WITH_BROWSER)) as host:
        cockpit = Cockpit.start(host)
        _write_journal(host)
        anna = cockpit.log_in("anna", *MAY_DECIDE)
        for size, shape in SIZES.items():
            for theme in ("light", "dark"):
                _take_views(cockpit, anna, shape, theme, size)
        _take(cockpit, anna, SIZES["wide"], "light", "waiting", "cockpit-preview", _look)
        _take(cockpit, anna, SIZES["wide"], "light", "waiting", "cockpit-decided", _decide)
        with Browser.open(host) as browser:
            digest.show(cockpit, browser, SIZES["narrow"][0])
            _keep(browser, "digest")
    return 0


def _take_views(
    cockpit: Cockpit, anna: Person, shape: tuple[int, int], theme: str, size: str
) -> None:
    for view in VIEWS:
        name = f"cockpit-{view}-{size}-{theme}"
        _take(cockpit, anna, shape, theme, view, name, lambda _: None)


def _take(
    cockpit: Cockpit,
    anna: Person,
    shape: tuple[int, int],
    theme: str,
    view: str,
    name: str,
    act: Callable[[Browser], None],
) -> None:
    cockpit.script(seeds.few())
    with cockpit.browser(anna) as browser:
        browser.shape(*shape, dark=theme == "dark")
        browser.go("about:blank")
        browser.go(anna.url(f"/{view}"))
        browser.find(".state.live")
        browser.find({"log": "tbody tr", "health": ".cards dd"}.get(view, _ROW))
        act(browser)
        browser.run("document.activeElement.blur()")
        browser.run_async("const done = arguments[0]; document.fonts.ready.then(() => done(1))")
        _keep(browser, name)


def _keep(browser: Browser, name: str) -> None:
    (IMAGES / f"{name}.png").write_bytes(browser.picture())
    _report(IMAGES / f"{name}.png")


def _look(browser: Browser) -> None:
    browser.find(f"{_ROW} .subject").click()
    browser.find("dialog pre", "Hello")


def _decide(browser: Browser) -> None:
    browser.find(f"{_ROW} [data-part=Feed]").click()
    browser.find(".row.done")
    for number in (2, 3):
        browser.run(
            "document.querySelectorAll('[role=row] [data-part=choose]')[arguments[0]].click()",
            number,
        )
    browser.find(".bulk", "2 chosen")


def _write_journal(host: Host) -> None:
    """As the service would: by the native protocol, from a unit of the service's name."""
    entries = []
    for event, sender, category, previous, filed, by, trigger in _JOURNAL:
        whom = "MAILROOM_DOMAIN" if event == "domain_triaged" else "MAILROOM_SENDER"
        fields = {
            "MESSAGE": event, "PRIORITY": "6", "MAILROOM_EVENT": event, whom: sender,
            "MAILROOM_CATEGORY": category, "MAILROOM_PREVIOUS": previous,
            "MAILROOM_FILED": str(filed), "MAILROOM_BY": by, "MAILROOM_TRIGGER": trigger,
        }  # fmt: skip
        entries.append("".join(f"{key}={value}\n" for key, value in fields.items() if value))
    # It lives until the journal has looked whose entries these are.
    script = f"""
import socket, subprocess
to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for entry in {entries!r}:
    to.sendto(entry.encode(), "/run/systemd/journal/socket")
subprocess.run(["journalctl", "--sync"], check=True)
"""
    host.run("systemd-run", "--quiet", "--wait", "--unit=mailroom", "python3", "-c", script)


def _report(path: Path) -> None:
    say(f"{path.relative_to(PROJECT)}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    sys.exit(main())
