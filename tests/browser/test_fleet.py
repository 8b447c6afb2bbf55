"""The page of one process that serves several accounts, on a real mail server: who sees what."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.browser.cockpit import MAY_DECIDE, MAY_LOOK, WITH_BROWSER, Cockpit
from tests.browser.scene import ROW, RULES, row
from tests.browser.webdriver import Browser
from tests.system import root
from tests.system.cyrus import PASSWORD, Cyrus, User, mail
from tests.system.host import Host
from tests.system.scene import furnish
from tests.system.unit import Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

_SECRETS = "/etc/mailroom/secrets"


@dataclass(frozen=True, slots=True)
class Household:
    """Two accounts, one process; ``ann`` owns the first."""

    cockpit: Cockpit
    users: dict[str, User]


@pytest.fixture(scope="module")
def household(bootable: None) -> Iterator[Household]:
    with Host.boot(root.ensure(WITH_BROWSER)) as host:
        cyrus, unit = Cyrus.start(host), Unit(host)
        users = {name: cyrus.user(name) for name in ("anna", "bert")}
        unit.configure(f"jmap:\n  url: {cyrus.url}\n")
        unit.override(LoadCredential=f"accounts:{_SECRETS}")
        for name, user in users.items():
            screener = furnish(user)["Screener"]
            user.activate(RULES.format(screener=screener))
            owners = "owners: [ann]\n" if name == "anna" else ""
            account = f"jmap:\n  username: {name}\n{owners}"
            host.write(f"/etc/mailroom/accounts.d/{name}.yaml", account)
            host.write(f"{_SECRETS}/{name}.jmap-password", PASSWORD, mode=0o600)
        unit.systemctl("start")
        yield Household(Cockpit.start(host), users)


def choose(browser: Browser, account: str) -> None:
    browser.find("select[aria-label=Account]").type(account)
    browser.find(".state:is(.live, .asking)")


def test_each_account_shows_its_own_mail_as_it_comes(household: Household) -> None:
    cockpit = household.cockpit
    carol = cockpit.log_in("carol", *MAY_DECIDE)
    with cockpit.browser(carol) as one, cockpit.browser(carol) as other:
        assert one.find("select[aria-label=Account]").text.split("\n") == ["anna", "bert"]
        choose(one, "anna")
        choose(other, "bert")
        household.users["anna"].receive(mail("mia@example.net", "for Anna"))
        one.find(row("mia@example.net"))
        household.users["bert"].receive(mail("joe@example.net", "for Bert"))
        other.find(row("joe@example.net"))
        assert not one.exists(row("joe@example.net"))
        assert not other.exists(row("mia@example.net"))
        one.find(f'{row("mia@example.net")} [data-part="Feed"]').click()
        one.find(f"{row('mia@example.net')}.done", "is in Feed now, 1 mail filed")
        for browser, expected in ((one, "mia@example.net"), (other, "Nothing has been done yet")):
            browser.find("#top a", "Log").click()
            browser.find("section", expected)


def test_an_owner_decides_for_the_own_account_alone(household: Household) -> None:
    cockpit = household.cockpit
    household.users["anna"].receive(mail("kim@example.net", "for Anna"))
    with cockpit.browser(cockpit.log_in("ann", *MAY_LOOK)) as browser:
        choose(browser, "anna")
        browser.find(f'{row("kim@example.net")} [data-part="Jail"]').click()
        browser.find(f"{row('kim@example.net')}.done", "is in Jail now")
        choose(browser, "bert")
        browser.find(".empty", "Only members of the group mailroom-control can see who writes")
        assert not browser.exists(ROW)
