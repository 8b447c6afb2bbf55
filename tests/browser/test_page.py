"""The page by itself, on a service that only speaks: what strangers write, thousands, rights, keys,
access, weight."""

import json
from collections.abc import Iterator

import jsonschema
import pytest

from tests.browser import axe, digest, seeds
from tests.browser.cockpit import (
    MAY_DECIDE,
    MAY_LOOK,
    NARROW,
    WIDE,
    WITH_BROWSER,
    Cockpit,
    Person,
)
from tests.browser.webdriver import Browser
from tests.system.claims import Claims
from tests.system.unit import PROJECT

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ROW = "[role=row]"
MANY = 5000
REFUSED = "winner@lucky-draw.example"
REASON = f"{REFUSED} is labelled for Feed and Jail: take one of the labels off"
# The page and what it takes from Cockpit, unpacked.
MOST_KIB = 300
RELEASE = WITH_BROWSER.release


@pytest.fixture(scope="module")
def anna(cockpit: Cockpit) -> Person:
    """She may decide."""
    return cockpit.log_in("anna", *MAY_DECIDE)


@pytest.fixture(scope="module")
def bob(cockpit: Cockpit) -> Person:
    """He may look at the status."""
    return cockpit.log_in("bob", *MAY_LOOK)


@pytest.fixture(scope="module")
def zed(cockpit: Cockpit) -> Person:
    """He is in no group."""
    return cockpit.log_in("zed")


@pytest.fixture
def morning(cockpit: Cockpit, anna: Person) -> Iterator[Browser]:
    """An ordinary morning, before Anna."""
    seed = seeds.few()
    seed["refused"] = {REFUSED: {"status": 409, "answer": {"error": REASON, "categories": []}}}
    cockpit.script(seed)
    with cockpit.browser(anna) as browser:
        browser.find(ROW)
        yield browser
        assert complaints(browser) == []


def complaints(browser: Browser) -> list[str]:
    """What the browser's console has of errors, refused scripts among them."""
    return [each["message"] for each in browser.console() if each["level"] == "SEVERE"]


def row(browser: Browser, address: str) -> str:
    return f'{ROW}[data-key="{address}"]'


def names(browser: Browser) -> list[str]:
    shown: list[str] = browser.run(
        f"return [...document.querySelectorAll('{ROW} .name')].map(each => each.textContent)"
    )
    return shown


def search(browser: Browser, text: str) -> None:
    """Have only this in the field for a search."""
    browser.run(
        "const field = document.querySelector('input.search'); field.value = arguments[0];"
        "field.dispatchEvent(new Event('input'))",
        text,
    )


def test_who_waits_is_shown_newest_first(morning: Browser) -> None:
    shown = names(morning)
    assert shown[:2] == ["Dana Whitfield", "Lumen Weekly"]
    assert shown[4] == "invoices@solarhub.example"  # who has no name is shown by the address
    first = morning.find(row(morning, "hello@lumenweekly.example")).text
    assert "4 mails" in first
    assert "Issue 214" in first
    assert "5 hours ago" not in shown
    assert morning.find("#top .badge").text == "7"


def test_a_click_decides_and_undo_brings_back(morning: Browser) -> None:
    line = row(morning, "dana@whitfield.example")
    morning.find(f'{line} [data-part="Feed"]').click()
    morning.find(f"{line}.done", "is in Feed now, 1 mail filed")
    assert "is in Feed now" in morning.run("return document.getElementById('said').textContent")
    morning.find(f'{line} [data-part="undo"]').click()
    morning.find(f'{line} [data-part="Feed"]')
    assert names(morning)[0] == "Dana Whitfield"


def test_a_line_that_cannot_be_undone_any_more_goes(morning: Browser) -> None:
    line = row(morning, "dana@whitfield.example")
    morning.find(f'{line} [data-part="Jail"]').click()
    morning.find(f"{line}.done")
    morning.let_a_minute_pass()
    morning.wait(lambda: not morning.exists(line), what="the line is still there")


def test_what_was_refused_comes_back_with_its_reason(morning: Browser) -> None:
    line = row(morning, REFUSED)
    morning.find(f'{line} [data-part="Feed"]').click()
    morning.find(f"{line} .refused", REASON)
    morning.find(f'{line} [data-part="Feed"]')
    assert REASON in morning.run("return document.getElementById('warned').textContent")


def test_keys_do_all_that_the_pointer_does(morning: Browser) -> None:
    morning.run(f"document.querySelector('{ROW}').focus()")
    morning.press("f", "j")  # Dana to Feed, and the next one to Jail
    morning.find(f"{row(morning, 'dana@whitfield.example')}.done", "Feed")
    morning.find(f"{row(morning, 'hello@lumenweekly.example')}.done", "Jail")
    morning.press("ArrowUp", "u")
    morning.find(f"{row(morning, 'hello@lumenweekly.example')} [data-part=Feed]")
    morning.press("Enter")
    morning.find("dialog pre", "this is Lumen Weekly")
    morning.press("Escape")
    morning.wait(lambda: not morning.exists("dialog"), what="the dialog is still open")
    focused = morning.run("return document.activeElement.dataset.key")
    assert focused == "hello@lumenweekly.example"
    morning.press("Space", "ArrowDown", "Space")
    morning.find(".bulk", "2 chosen")
    morning.press("p")
    morning.find(f"{row(morning, 'no-reply@northway.example')}.done", "Paper Trail")
    morning.find("[data-part=undo-all]", "Undo all 2").click()
    morning.find(f"{row(morning, 'no-reply@northway.example')} [data-part=Feed]")


def test_many_are_chosen_and_decided_about_at_once(morning: Browser) -> None:
    morning.find('[data-part="all"]').click()
    morning.find(".bulk", "7 chosen")
    morning.find('.bulk [data-part="Billboard"]').click()
    morning.wait(
        lambda: len(morning.run(f"return [...document.querySelectorAll('{ROW}.done')]")) == 6
    )
    morning.find(f"{row(morning, REFUSED)} .refused")


def test_the_newest_mail_is_shown_as_text(morning: Browser) -> None:
    morning.find(f"{row(morning, 'dana@whitfield.example')} .subject").click()
    dialog = morning.find("dialog", "this is Dana Whitfield")
    assert "Dana Whitfield <dana@whitfield.example>" in dialog.text
    assert "report.pdf" in dialog.text
    morning.find("dialog #whole-domain").click()
    morning.find("dialog [data-part=Jail]").click()
    morning.find(f"{row(morning, 'dana@whitfield.example')}", "Jail")


def test_senders_are_found_changed_and_taken_back(morning: Browser) -> None:
    morning.find("#top a", "Senders").click()
    morning.find(".sender", "Alma Reyes")
    morning.find("input.search").type("library")
    morning.wait(lambda: len(names(morning)) == 1)
    morning.find("[data-part=change]").click()
    facts = morning.find("dialog", "New mail goes to").text
    assert "news@library.example" in facts
    morning.find("dialog [data-part=Jail]").click()
    morning.find(".alert.success", "City Library is in Jail now")
    morning.find(".sender .badge", "Jail")
    morning.find("select[aria-label=Category]").type("Billboard")
    search(morning, "")
    morning.wait(lambda: names(morning) == ["shop.example", "Harbour Market"], what="Billboard")
    morning.find(f'{row(morning, "domain:shop.example")} [data-part="change"]').click()
    morning.find("dialog button", "Take back to Screener").click()
    morning.find(".alert.success", "shop.example is in Screener now")


def test_health_says_what_needs_somebody_and_polls(morning: Browser) -> None:
    morning.find("#top a", "Health").click()
    morning.find(".alert.warning", "kim@club.example is labelled for Feed, Jail")
    morning.find(".alert.warning", "the address book refused the card")
    before = morning.find(".cards", "Version").text
    assert "alice@example.org" in before
    morning.find("button", "Poll now").click()
    morning.find(".cards dd", "1, 0 failed")


def test_what_strangers_write_is_only_text(cockpit: Cockpit, anna: Person) -> None:
    cockpit.script(seeds.hostile())
    with cockpit.browser(anna) as browser:
        browser.find(ROW, "Quoted")
        shown = names(browser)
        assert shown[0].startswith("<img src=x onerror=")
        assert shown[1] == "invoice�cod.exe"
        assert max(map(len, shown)) <= 121  # 120 and an ellipsis, of 10,000
        assert not [each for each in "".join(shown) if each in "\u202e\x00\x1b\n\r"]
        browser.find(f"{row(browser, 'h0@example.net')} .subject").click()
        mail = browser.find("dialog pre", "BBBB").text
        assert seeds.SCRIPT in mail
        assert "\u202e" not in mail
        assert not browser.run(
            "return [...document.querySelectorAll('img, script:not([src]), iframe')]"
        )
        browser.press("Escape")
        wide = browser.run("return document.documentElement.scrollWidth")
        assert wide <= WIDE[0]
        browser.shape(*NARROW)
        assert browser.run("return document.documentElement.scrollWidth") <= NARROW[0]
        # An address with quotes in it is an address like others.
        browser.run("window.scrollTo(0, 1e6)")
        browser.run(
            "[...document.querySelectorAll('[role=row]')].find(each => each.textContent"
            ".includes('Quoted')).querySelector('[data-part=Feed]').click()"
        )
        browser.find(".decided", "Quoted")
        assert browser.run("return window.hacked === undefined")
        assert complaints(browser) == []


def test_the_policy_lets_nothing_else_in(morning: Browser) -> None:
    """Even if text were once set as markup, nothing of it would run."""
    morning.run(
        "try { document.body.insertAdjacentHTML('beforeend', arguments[0]); window.hacked = 1 }"
        "catch (error) { window.refused = String(error) }",
        seeds.SCRIPT,
    )
    refused, hacked = morning.run("return [window.refused, window.hacked]")
    assert "TrustedHTML" in refused
    assert hacked is None
    assert all("TrustedHTML" in each for each in complaints(morning))
    loaded = morning.run("return performance.getEntriesByType('resource').map(each => each.name)")
    assert {each.split("/")[2] for each in loaded} == {morning.run("return location.host")}


def test_five_thousand_are_as_quick_as_five(cockpit: Cockpit, anna: Person, claims: Claims) -> None:
    taken = {}
    for number in (5, MANY):
        cockpit.script(seeds.many(number))
        with cockpit.browser(anna) as browser:
            browser.find(ROW)
            assert len(browser.run(f"return [...document.querySelectorAll('{ROW}')]")) < 60
            taken[number] = milliseconds_of_a_key(browser)
            browser.run(f"document.querySelector('{ROW}').focus()")
            browser.press("End")
            browser.find(ROW, f"Sender {number - 1:04}")
            if number == MANY:
                browser.find("input.search").type("sender 4321")
                browser.wait(lambda: names(browser) == ["Sender 4321"])
    claims.at_most(taken[5] + 50, taken[MANY], RELEASE, "a key with 5,000 senders who wait", "ms")


def milliseconds_of_a_key(browser: Browser) -> float:
    """From pressing a category's key to the next frame that shows it, the middle of seven."""
    script = """
        const done = arguments[0], times = [];
        document.querySelectorAll('[role=row]')[0].focus();
        const step = () => {
            const begun = performance.now();
            const pressed = new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true});
            document.activeElement.dispatchEvent(pressed);
            requestAnimationFrame(() => {
                times.push(performance.now() - begun);
                times.length < 7 ? setTimeout(step, 50) : done(times.sort((a, b) => a - b)[3]);
            });
        };
        step();
    """
    return float(browser.run_async(script))


def test_whoever_may_not_decide_is_shown_and_not_offered(cockpit: Cockpit, bob: Person) -> None:
    cockpit.script(seeds.few())
    with cockpit.browser(bob) as browser:
        browser.find(".empty", "7 senders with 19 mails")
        browser.find(".empty", "usermod --append --groups mailroom-control bob")
        assert not browser.exists("button.category")
        browser.find("#top a", "Senders").click()
        browser.find(".empty", "mailroom-control")
        browser.find("#top a", "Health").click()
        browser.find(".alert", "kim@club.example")
        browser.find("button", "Poll now").click()
        browser.find(".cards dd", "1, 0 failed")
        browser.find("#top a", "Log").click()
        browser.find(".alert.danger", "systemd-journal")


def test_whoever_may_not_even_look_is_told_why(cockpit: Cockpit, zed: Person) -> None:
    cockpit.script(seeds.few())
    with cockpit.browser(zed) as browser:
        browser.find(".alert", "You may not look at this service")
        assert not names(browser)


def test_several_accounts_are_chosen_from_and_the_choice_remembered(
    cockpit: Cockpit, anna: Person
) -> None:
    cockpit.script(seeds.few())
    office = seeds.many(3)
    cockpit.script(office, "office")
    try:
        with cockpit.browser(anna) as browser:
            browser.find(ROW, "Dana Whitfield")
            browser.find("select[aria-label=Account]").type("office")
            browser.find(ROW, "Sender 0000")
            assert "Dana Whitfield" not in names(browser)
            browser.go("about:blank")
            browser.go(anna.url())
            browser.find(ROW, "Sender 0000")
    finally:
        cockpit.host.run("systemctl", "stop", "scripted-office")
        cockpit.host.run("rm", "-r", "/run/mailroom/office")


def test_a_service_that_goes_and_comes_back_is_followed(cockpit: Cockpit, anna: Person) -> None:
    cockpit.script(seeds.few())
    with cockpit.browser(anna) as browser:
        browser.find(ROW, "Dana Whitfield")
        browser.find(".state.live")
        cockpit.host.run("systemctl", "stop", "scripted-main")
        browser.find(".state.lost")
        browser.find(".notice .alert", "No connection to the service")
        cockpit.script(seeds.many(2))
        browser.find(ROW, "Sender 0001")
        browser.find(".state.live")
        assert not browser.exists(".notice .alert")


def test_accounts_of_one_process_are_chosen_from_and_hear_their_own(
    cockpit: Cockpit, anna: Person
) -> None:
    ill = seeds.many(3)
    ill["status"] = {**ill["status"], "status": "unhealthy", "reason": "no poll succeeded"}
    cockpit.script({"accounts": {"anna@home": seeds.few(), "bert": ill}})
    with cockpit.browser(anna) as browser, cockpit.browser(anna) as other:
        chooser = browser.find("select[aria-label=Account]")
        assert chooser.text.split("\n") == ["anna@home", "bert, unhealthy"]
        browser.find(ROW, "Dana Whitfield")
        other.find("select[aria-label=Account]").type("bert")
        other.find(ROW, "Sender 0000")
        other.find(".state.live")
        browser.find(f"{row(browser, 'dana@whitfield.example')} [data-part=Feed]").click()
        browser.find(f"{row(browser, 'dana@whitfield.example')}.done")
        other.find('[data-part="all"]').click()
        other.find('.bulk [data-part="Jail"]').click()
        other.wait(lambda: other.exists(f"{ROW}.done", "is in Jail now"))
        assert "Dana Whitfield" not in names(other)
        other.find("#top a", "Health").click()
        other.find(".alert.danger", "no poll succeeded")
        other.go("about:blank")
        other.go(anna.url("/health"))
        other.find(".alert.danger", "no poll succeeded")


def test_what_the_page_loads_is_small(morning: Browser, claims: Claims) -> None:
    size = morning.run(
        "return ['navigation', 'resource'].flatMap(each => performance.getEntriesByType(each))"
        ".reduce((sum, each) => sum + each.decodedBodySize, 0)"
    )
    claims.at_most(MOST_KIB, round(size / 1024), RELEASE, "what the page in Cockpit loads", "KiB")
    assert size > 50_000


VIEWS = ("/waiting", "/senders", "/log", "/health")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_accessibility_checker_finds_nothing(
    cockpit: Cockpit, anna: Person, claims: Claims, size: tuple[int, int], dark: bool
) -> None:
    seed = seeds.few()
    seed["refused"] = {REFUSED: {"status": 409, "answer": {"error": REASON, "categories": []}}}
    cockpit.script(seed)
    reports = {}
    with cockpit.browser(anna) as browser:
        browser.shape(*size, dark=dark)
        try:
            for view in VIEWS:
                browser.go("about:blank")
                browser.go(anna.url(view))
                browser.find("main section")
                browser.find(".state.live")
                if view == "/waiting":
                    browser.find(f'{row(browser, REFUSED)} [data-part="Feed"]').click()
                    browser.find(".refused")
                    browser.find(
                        f"{row(browser, 'dana@whitfield.example')} [data-part=Feed]"
                    ).click()
                    browser.find(".row.done")
                reports[view] = axe.check(browser)
                if view == "/waiting":
                    browser.find(f"{row(browser, 'hello@lumenweekly.example')} .subject").click()
                    browser.find("dialog pre", "this is")
                    reports["preview"] = axe.check(browser)
        except axe.NoAxe as error:
            pytest.skip(f"no axe-core here: {error}")
    found = {view: report.violations for view, report in reports.items() if report.violations}
    assert not found, json.dumps(found, indent=1)
    rules = min(report.passes for report in reports.values())
    assert rules > 20
    claims.at_most(0, 0, RELEASE, f"violations found by axe {reports['/waiting'].version}")


SCRIPTED = {
    "/status": "status",
    "/categories": "categories",
    "/waiting": "waiting",
    "/mail?id=M0": "mail",
    "/senders": "senders",
    "/sender?address=news@library.example": "sender",
    "/sender?address=dana@whitfield.example": "sender",
}


@pytest.mark.parametrize("path", SCRIPTED)
def test_the_scripted_service_speaks_as_the_real_one(cockpit: Cockpit, path: str) -> None:
    """Or the page would be tested against a service that there is not."""
    cockpit.script(seeds.few())
    ask = ("curl", "--silent", "--unix-socket", "/run/mailroom/control.sock")
    answer = json.loads(cockpit.host.run(*ask, f"http://mailroom{path}").stdout)
    schema = json.loads((PROJECT / f"mailroom/schema/{SCRIPTED[path]}.schema.json").read_text())
    jsonschema.validate(answer, schema)


def test_it_speaks_the_language_that_cockpit_speaks(cockpit: Cockpit, anna: Person) -> None:
    cockpit.script(seeds.few())
    with cockpit.browser(anna) as browser:
        cookie = {"name": "CockpitLang", "value": "de-de", "path": "/"}
        browser.command("POST", "/cookie", {"cookie": cookie})
        browser.go("about:blank")
        browser.go(anna.url())
        browser.find("#top a", "Wartende")
        browser.find(".toolbar .count", "7 Absender")
        browser.find(".since", "vor 2 Minuten")
        assert browser.run("return document.documentElement.lang").startswith("de")


def test_a_german_browser_is_shown_german_also_on_a_phone(cockpit: Cockpit, anna: Person) -> None:
    cockpit.script(seeds.few())
    with Browser.open(cockpit.host, "--accept-lang=de-DE") as browser:
        browser.shape(*NARROW)
        for place, said in GERMAN.items():
            browser.go("about:blank")
            browser.go(anna.url(place))
            for selector, text in said.items():
                browser.find(selector, text)
            assert browser.run("return document.documentElement.lang") == "de"
            assert browser.run("return document.documentElement.scrollWidth") <= NARROW[0]
            assert not [each for each in browser.console() if each["level"] == "SEVERE"]


GERMAN = {
    "/waiting": {"#top [aria-current]": "Wartende", ".row": "vor"},
    "/senders": {".toolbar": "Entscheidungen", "[data-part=change]": "Ändern"},
    "/log": {"#top [aria-current]": "Protokoll"},
    "/health": {"button": "Jetzt abfragen", ".cards": "E-Mails"},
}


@pytest.mark.parametrize("width", [NARROW[0], 700])
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_the_daily_mail_can_be_read_on_a_phone(
    cockpit: Cockpit, width: int, *, is_dark: bool
) -> None:
    with Browser.open(cockpit.host) as browser:
        digest.show(cockpit, browser, width, dark=is_dark)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        shown = browser.run("""
            const style = getComputedStyle(document.body);
            return [style.color, matchMedia("(prefers-color-scheme: dark)").matches];
        """)
        assert shown == (["rgb(255, 255, 255)", True] if is_dark else ["rgb(0, 0, 0)", False])
        try:
            # It is no page: landmarks and the first heading are the mail app's.
            assert axe.check(browser, "wcag2a", "wcag2aa").violations == ()
        except axe.NoAxe as error:
            pytest.skip(f"no axe-core here: {error}")
