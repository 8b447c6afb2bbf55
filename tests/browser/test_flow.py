"""The page as it is used, once through: mail comes in, is filed, is taken back."""

import pytest

from tests.browser.scene import AtDesk, row

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_mail_comes_in_and_is_decided_about(at_desk: AtDesk) -> None:
    with at_desk.page() as browser:
        at_desk.receive("Bob <bob@example.net>", subject="A first word")
        browser.find(f"{row('bob@example.net')} .subject", "A first word")

        browser.find(f'{row("bob@example.net")} [data-part="Feed"]').click()
        browser.find(f"{row('bob@example.net')}.done", "is in Feed now, 1 mail filed")
        at_desk.await_in("Feed", "A first word")
        assert at_desk.scene.subjects("Screener") == set()

        browser.find("#top a", "Log").click()
        line = browser.find("tbody tr", "bob@example.net").text
        assert "to Feed, 1 mail filed" in line
        assert "anna" in line

        browser.find("#top a", "Senders").click()
        browser.find(".sender", "bob@example.net")
        browser.find("[data-part=change]").click()
        browser.find("dialog button", "Take back to Screener").click()
        browser.find(".alert.success", "Bob is in Screener now")
        at_desk.await_in("Screener", "A first word")
