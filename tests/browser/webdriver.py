"""A browser that is driven as a person would: the WebDriver protocol, as far as the tests go.

Reference: https://www.w3.org/TR/webdriver2/ , and the DevTools protocol by chromedriver's
``goog/cdp/execute`` for what WebDriver has no word for (widths, dark mode, the accessibility tree).
"""

import base64
import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from tests.system.host import Host

LOOPBACK = "127.0.0.1"
PORT = 9515
SECONDS = 30.0

# The key under which an element is named (section 12.1).
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# Code points of keys (section 17.4.2).
KEYS = {
    "Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "Shift": "\ue008", "Control": "\ue009",
    "Home": "\ue011", "End": "\ue010", "PageDown": "\ue00f",
    "ArrowUp": "\ue013", "ArrowDown": "\ue015", "Space": " ",
}  # fmt: skip
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Tests wait for what timers do, also in the second of two windows.
    *("--disable-background-timer-throttling", "--disable-renderer-backgrounding"),
    "--disable-backgrounding-occluded-windows",
    "--force-device-scale-factor=1",
)


class BrowserError(Exception):
    """The browser answered with an error; the message says which."""


@dataclass(frozen=True, slots=True)
class Element:
    """Something on the page."""

    browser: "Browser"
    identifier: str

    @property
    def text(self) -> str:
        return str(self._get("text"))

    def attribute(self, name: str) -> str | None:
        value: str | None = self._get(f"attribute/{name}")
        return value

    def click(self) -> None:
        self._post("click", {})

    def type(self, text: str) -> None:
        self._post("value", {"text": text})

    def _get(self, what: str) -> Any:
        return self.browser.command("GET", f"/element/{self.identifier}/{what}")

    def _post(self, what: str, body: dict[str, Any]) -> Any:
        return self.browser.command("POST", f"/element/{self.identifier}/{what}", body)


class Browser:
    """One window of Chromium on a host."""

    def __init__(self, host: Host, session: str) -> None:
        self._host = host
        self._session = session

    @classmethod
    @contextlib.contextmanager
    def open(cls, host: Host, *flags: str) -> Iterator[Self]:
        """A fresh browser, without a memory of others, closed at the end."""
        options = {"args": [*_FLAGS, *flags]}
        log = {"browser": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": log}
        begun = _request(host, "POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        browser = cls(host, begun["sessionId"])
        try:
            yield browser
        finally:
            browser.command("DELETE", "")

    def command(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return _request(self._host, method, f"/session/{self._session}{path}", body)

    def go(self, url: str) -> None:
        self.command("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript function body; ``arguments[0]`` is the first of these."""
        given = [_named(each) for each in arguments]
        value = self.command("POST", "/execute/sync", {"script": script, "args": given})
        return self._found(value)

    def run_async(self, script: str, *arguments: Any) -> Any:
        """The same, where the last argument is to be called with the value."""
        body = {"script": script, "args": list(arguments)}
        return self.command("POST", "/execute/async", body)

    def find(self, selector: str, text: str | None = None, seconds: float = SECONDS) -> Element:
        """The first element that a CSS selector finds and that has this text, awaited."""
        script = """
            return [...document.querySelectorAll(arguments[0])].find(each =>
                each.getClientRects().length &&
                (arguments[1] === null || each.textContent.includes(arguments[1]))) || null;
        """
        found: list[Element] = []

        def look() -> bool:
            found[:] = [each for each in [self.run(script, selector, text)] if each]
            return bool(found)

        self.wait(look, seconds, f"{selector} with {text!r}")
        return found[0]

    def exists(self, selector: str, text: str | None = None) -> bool:
        with contextlib.suppress(AssertionError):
            self.find(selector, text, seconds=0)
            return True
        return False

    def wait(
        self, condition: Callable[[], object], seconds: float = SECONDS, what: str = ""
    ) -> float:
        """Ask until a condition holds; returns the seconds that it took."""
        begun = time.monotonic()
        while not condition():
            if time.monotonic() > begun + seconds:
                shown = self.run("return document.body.innerText")
                said = "\n".join(map(str, self.console()))
                raise AssertionError(f"{what}: not within {seconds} s of\n{shown}\n{said}")
        return time.monotonic() - begun

    def press(self, *keys: str) -> None:
        """Press and release keys one after the other, wherever the focus is: "f", "ArrowDown"."""
        actions = []
        for key in keys:
            *held, last = [KEYS.get(part, part) for part in key.split("+")]
            actions += [{"type": "keyDown", "value": value} for value in (*held, last)]
            actions += [{"type": "keyUp", "value": value} for value in (last, *reversed(held))]
        self.command("POST", "/actions", {"actions": [_source("key", actions)]})

    def let_a_minute_pass(self) -> None:
        """The page's clock goes forward, and the pointer is nowhere that keeps a list still."""
        self.run("const now = Date.now; Date.now = () => now() + 61000")
        move = {"type": "pointerMove", "duration": 0, "x": 1, "y": 1}
        away = {"type": "pointer", "id": "mouse", "actions": [move]}
        self.command("POST", "/actions", {"actions": [away]})

    def devtools(self, command: str, **parameters: Any) -> Any:
        body = {"cmd": command, "params": parameters}
        return self.command("POST", "/goog/cdp/execute", body)

    def shape(self, width: int, height: int, *, dark: bool = False) -> None:
        """What the page has to be shown on."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """What is seen, as a PNG."""
        return base64.b64decode(self.command("GET", "/screenshot"))

    def console(self) -> list[dict[str, Any]]:
        """What the page and the browser complained of since the last time."""
        logged: list[dict[str, Any]] = self.command("POST", "/se/log", {"type": "browser"})
        return logged

    def _found(self, value: Any) -> Any:
        if isinstance(value, dict) and _ELEMENT in value:
            return Element(self, value[_ELEMENT])
        if isinstance(value, list):
            return [self._found(each) for each in value]
        return value


def _named(value: Any) -> Any:
    return {_ELEMENT: value.identifier} if isinstance(value, Element) else value


def _source(kind: str, actions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": kind, "id": kind, "actions": actions}


def _request(host: Host, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One command to chromedriver; an answer that is an error is raised (section 6.6)."""
    connection = http.client.HTTPConnection(LOOPBACK, PORT, timeout=2 * SECONDS)
    with contextlib.closing(connection):
        with host.network():
            connection.connect()
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = json.loads(connection.getresponse().read())["value"]
    if isinstance(answer, dict) and "error" in answer:
        raise BrowserError(f"{method} {path}: {answer['error']}: {answer['message']}")
    return answer
