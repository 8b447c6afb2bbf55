"""The page on the oldest Cockpit that it is for: Debian 12's, 287, whose bridge is written in C."""

from collections.abc import Iterator

import pytest

from tests.browser import seeds
from tests.browser.cockpit import MAY_DECIDE, ON_BOOKWORM, Cockpit
from tests.system import root
from tests.system.host import Host

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def oldest(bootable: None) -> Iterator[Cockpit]:
    with Host.boot(root.ensure(ON_BOOKWORM)) as host:
        yield Cockpit.start(host)


def test_the_page_works_on_debian_12(oldest: Cockpit) -> None:
    oldest.script(seeds.few())
    anna = oldest.log_in("anna", *MAY_DECIDE)
    with oldest.browser(anna) as browser:
        line = '[role=row][data-key="dana@whitfield.example"]'
        browser.find(".state.live")
        browser.find(f'{line} [data-part="Feed"]').click()
        browser.find(f"{line}.done", "is in Feed now, 1 mail filed")
        browser.find(f'{line} [data-part="undo"]').click()
        browser.find(f'{line} [data-part="Feed"]')
        browser.find(f"{line} .subject").click()
        browser.find("dialog pre", "this is Dana Whitfield")
        browser.press("Escape")
        browser.find("#top a", "Senders").click()
        browser.find(".sender", "Alma Reyes")
        browser.find("#top a", "Log").click()
        browser.find(".empty", "Nothing has been done yet")
        browser.find("#top a", "Health").click()
        browser.find(".cards dd", "alice@example.org")
        assert not [each for each in browser.console() if each["level"] == "SEVERE"]


def test_whoever_is_in_no_group_is_told_there_too(oldest: Cockpit) -> None:
    oldest.script(seeds.few())
    with oldest.browser(oldest.log_in("zed")) as browser:
        browser.find(".alert", "You may not look at this service")
