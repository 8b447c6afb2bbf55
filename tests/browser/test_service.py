"""The page with the real service and real mail: what several people do, what goes wrong, what
strangers send."""

import statistics
import time
from email.message import EmailMessage

import pytest

from tests.browser import seeds
from tests.browser.cockpit import MAY_LOOK, NARROW
from tests.browser.scene import Visitor, row
from tests.browser.webdriver import Browser
from tests.system.claims import Claims

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ARRIVAL_SECONDS = 1.0


def decide(browser: Browser, address: str, category: str) -> None:
    browser.find(f'{row(address)} [data-part="{category}"]').click()


def is_gone(browser: Browser, address: str) -> bool:
    """No row offers a decision about this sender."""
    return not browser.exists(f'{row(address)} [data-part="Feed"]')


def is_knocking(visitor: Visitor) -> bool:
    """A connection to the control socket is not yet accepted: state 02, proc_net_unix(5)."""
    lines = visitor.cockpit.host.run("cat", "/proc/net/unix").stdout.splitlines()
    return any(line.endswith("control.sock") and line.split()[5] == "02" for line in lines)


def test_mail_is_on_the_page_within_a_second(visitor: Visitor, claims: Claims) -> None:
    taken = []
    with visitor.page() as browser:
        for number in range(7):
            sender = f"quick{number}@example.net"
            visitor.receive(sender)
            begun = time.monotonic()
            browser.find(row(sender))
            taken.append(time.monotonic() - begun)
    claims.at_most(
        ARRIVAL_SECONDS, statistics.median(taken), "trixie", "LMTP to row, median of 7", "s"
    )


def test_undo_brings_the_mail_back(visitor: Visitor) -> None:
    visitor.receive("Cleo <cleo@example.net>", subject="Cleo's")
    with visitor.page() as browser:
        decide(browser, "cleo@example.net", "Jail")
        browser.find(f"{row('cleo@example.net')}.done", "is in Jail now")
        visitor.await_in("Jail", "Cleo's")
        browser.find(f'{row("cleo@example.net")} [data-part="undo"]').click()
        browser.find(f'{row("cleo@example.net")} [data-part="Feed"]')
        visitor.await_in("Screener", "Cleo's")


def test_undo_goes_back_to_the_category_before(visitor: Visitor) -> None:
    visitor.receive("dora@example.net", subject="Dora's")
    with visitor.page() as browser:
        decide(browser, "dora@example.net", "Feed")
        browser.find(f"{row('dora@example.net')}.done")
        visitor.await_in("Feed", "Dora's")
        browser.find("#top a", "Senders").click()
        browser.find(f'{row("address:dora@example.net")} [data-part="change"]').click()
        browser.find("dialog [data-part=Truck]").click()
        browser.find(".alert.success", "is in Truck now")
        visitor.await_in("Paper Trail", "Dora's")
        browser.find(f"{row('address:dora@example.net')} .badge", "Truck")


def test_two_browsers_see_the_same(visitor: Visitor) -> None:
    visitor.receive("Emil <emil@example.net>", subject="Emil's")
    with visitor.page() as one, visitor.page() as other:
        one.find(row("emil@example.net"))
        other.find(row("emil@example.net"))
        decide(one, "emil@example.net", "Feed")
        one.find(f"{row('emil@example.net')}.done")
        other.wait(lambda: is_gone(other, "emil@example.net"), 10, "the other browser's row")
        one.find(f'{row("emil@example.net")} [data-part="undo"]').click()
        other.find(f'{row("emil@example.net")} [data-part="Feed"]')


def test_a_refused_decision_comes_back_with_the_reason(visitor: Visitor) -> None:
    """Somebody else has put a label on at that moment."""
    visitor.receive("fay@example.net", "fay@example.net", subject="Fay's")
    scene = visitor.scene
    with visitor.page() as browser:
        browser.find(row("fay@example.net"), "2 mails")
        visitor.cockpit.host.run("systemctl", "kill", "--signal=STOP", "mailroom.service")
        scene.put_on("@ToJail", "Screener", "fay@example.net")
        decide(browser, "fay@example.net", "Feed")
        browser.find(f"{row('fay@example.net')}.sending")
        browser.wait(lambda: is_knocking(visitor), 10, "the decision at the socket")
        visitor.cockpit.host.run("systemctl", "kill", "--signal=CONT", "mailroom.service")
        # The label is carried out, as without the page, and the reason stays for a while.
        visitor.await_in("Jail", "Fay's")
        browser.find(f"{row('fay@example.net')}.gone .refused", "Jail")
        browser.find(f"{row('fay@example.net')}.gone .refused", "Feed")
        assert is_gone(browser, "fay@example.net")
        browser.let_a_minute_pass()
        gone = row("fay@example.net")
        browser.wait(lambda: not browser.exists(gone), what="the line is still there")


def test_a_restart_under_the_open_page_is_got_over(visitor: Visitor) -> None:
    visitor.receive("gus@example.net", subject="Gus's")
    with visitor.page() as browser:
        browser.find(row("gus@example.net"))
        visitor.scene.unit.systemctl("restart")
        visitor.receive("hal@example.net", subject="Hal's")
        browser.find(row("hal@example.net"))
        decide(browser, "gus@example.net", "Feed")
        browser.find(f"{row('gus@example.net')}.done")
        visitor.await_in("Feed", "Gus's")
        assert not browser.exists(".notice .alert")


def test_what_strangers_send_harms_nothing(visitor: Visitor) -> None:
    for number, text in enumerate((seeds.SCRIPT, seeds.BIDI, "A" * 10_000)):
        message = EmailMessage()
        message["From"] = f"x{number}@example.net"
        message["To"] = "alice@example.org"
        message["Subject"] = text
        message.set_content(f"{text}\n")
        visitor.receive_raw(message)
    with visitor.page() as browser:
        for number in range(3):
            browser.find(row(f"x{number}@example.net"))
        browser.find(f"{row('x0@example.net')} .subject").click()
        assert seeds.SCRIPT in browser.find("dialog pre", "img").text
        browser.press("Escape")
        shown = browser.find(f"{row('x1@example.net')} .subject").text
        assert "\u202e" not in shown
        browser.shape(*NARROW)
        assert browser.run("return document.documentElement.scrollWidth") <= NARROW[0]
        assert browser.run("return window.hacked === undefined")
        assert not [each for each in browser.console() if each["level"] == "SEVERE"]


def test_whoever_is_not_in_the_group_sees_numbers_alone(visitor: Visitor) -> None:
    visitor.receive("ida@example.net", subject="Not for everybody")
    bob = visitor.cockpit.log_in("bob", *MAY_LOOK)
    with visitor.cockpit.browser(bob) as browser:
        browser.find(".empty", "usermod --append --groups mailroom-control bob")
        assert not browser.exists("button.category")
        assert "ida@example.net" not in browser.run("return document.documentElement.outerHTML")
        browser.find("#top a", "Health").click()
        browser.find(".cards dd", "alice")
