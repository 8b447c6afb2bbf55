"""The page as it is used, once through: mail comes in, is filed, is taken back."""

import pytest

from tests.browser.scene import Visitor, row

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_mail_comes_in_and_is_decided_about(visitor: Visitor) -> None:
    with visitor.page() as browser:
        visitor.receive("Bob <bob@example.net>", subject="A first word")
        browser.find(f"{row('bob@example.net')} .subject", "A first word")

        browser.find(f'{row("bob@example.net")} [data-part="Feed"]').click()
        browser.find(f"{row('bob@example.net')}.done", "is in Feed now, 1 mail filed")
        visitor.await_in("Feed", "A first word")
        assert visitor.scene.subjects("Screener") == set()

        browser.find("#top a", "Log").click()
        line = browser.find("tbody tr", "bob@example.net").text
        assert "to Feed, 1 mail filed" in line
        assert "anna" in line

        browser.find("#top a", "Senders").click()
        browser.find(".sender", "bob@example.net")
        browser.find("[data-part=change]").click()
        browser.find("dialog button", "Take back to Screener").click()
        browser.find(".alert.success", "Bob is in Screener now")
        visitor.await_in("Screener", "A first word")
