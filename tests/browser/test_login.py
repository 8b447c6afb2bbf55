"""Logging in as people do: Cockpit's own page, PAM, and the page in Cockpit's frame."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.browser import seeds
from tests.browser.cockpit import MAY_DECIDE, WIDE, Cockpit
from tests.browser.webdriver import Browser

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PASSWORD = "correct horse battery staple"
# Cockpit lets this host's own browsers in without TLS.
PLACE = "http://127.0.0.1:9090/mailroom"
# In the frame that Cockpit shows the page in.
_IN_FRAME = """
    const frame = document.querySelector('iframe[name="cockpit1:localhost/mailroom"]');
    const found = [...frame?.contentDocument?.querySelectorAll(arguments[0]) ?? []];
    const shown = found.find(each => each.textContent.includes(arguments[1]));
    if (shown && arguments[2])
        shown.click();
    return Boolean(shown);
"""


@pytest.fixture(scope="module")
def serving(cockpit: Cockpit) -> Cockpit:
    """Cockpit as its package starts it."""
    cockpit.script(seeds.few())
    cockpit.host.run("systemctl", "start", "cockpit.socket")
    return cockpit


def make_user(cockpit: Cockpit, name: str, *groups: str) -> None:
    more = ("--groups", ",".join(groups)) if groups else ()
    cockpit.host.run("useradd", "--create-home", "--shell", "/bin/bash", *more, name)
    cockpit.host.run("sh", "-c", f"echo '{name}:{PASSWORD}' | chpasswd")


@contextmanager
def logged_in(cockpit: Cockpit, name: str, password: str = PASSWORD) -> Iterator[Browser]:
    with Browser.open(cockpit.host) as browser:
        browser.shape(*WIDE)
        browser.go(PLACE)
        browser.find("#login-user-input").type(name)
        browser.find("#login-password-input").type(password)
        browser.find("#login-button").click()
        yield browser


def sees(browser: Browser, selector: str, text: str = "", *, click: bool = False) -> bool:
    return bool(browser.run(_IN_FRAME, selector, text, click))


def test_a_member_of_the_group_logs_in_and_decides(serving: Cockpit) -> None:
    make_user(serving, "carol", *MAY_DECIDE)
    line = '[role=row][data-key="dana@whitfield.example"]'
    with logged_in(serving, "carol") as browser:
        browser.wait(lambda: sees(browser, line, "Dana Whitfield"), what="the row")
        assert sees(browser, f'{line} [data-part="Feed"]', click=True)
        browser.wait(lambda: sees(browser, f"{line}.done", "is in Feed now"), what="the answer")
        assert browser.exists("nav a", "Mailroom")


def test_whoever_is_in_no_group_logs_in_and_is_told(serving: Cockpit) -> None:
    make_user(serving, "dave")
    with logged_in(serving, "dave") as browser:
        told = "usermod --append --groups mailroom-control dave"
        browser.wait(lambda: sees(browser, ".alert", told), what="who may look")
        assert not sees(browser, "[role=row]")
        assert not sees(browser, "button.category")


def test_a_wrong_password_shows_nothing(serving: Cockpit) -> None:
    make_user(serving, "erin", *MAY_DECIDE)
    with logged_in(serving, "erin", "wrong") as browser:
        browser.find("#login-error-message")
        assert not browser.exists("iframe")
