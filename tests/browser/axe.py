"""axe-core, the accessibility checks of Deque, as a wheel of PyPI carries it: fetched once into the
cache, read by the tests, part of nothing.

https://github.com/dequelabs/axe-core (MPL 2.0)
"""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.browser.webdriver import Browser
from tests.system import root

# With axe 4.12.1.
_WHEEL = "axe-playwright-python==0.1.8"
_SCRIPT = "axe_playwright_python/axe.min.js"
_RUN = """
    const [tags, done] = arguments;
    axe.run(document, {resultTypes: ["violations"], ...(tags.length && {runOnly: tags})}).then(
        ({passes, violations}) => done({version: axe.version, passes: passes.length, violations}),
        error => done({error: String(error)}));
"""


class NoAxe(Exception):
    """It cannot be had here."""


@dataclass(frozen=True, slots=True)
class Report:
    """How many rules held, and what did not, a line each."""

    version: str
    passes: int
    violations: tuple[str, ...]


def script() -> str:
    """The text of axe-core."""
    kept = root.cache_directory() / f"{_WHEEL}.js"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(_fetch())
    return kept.read_text()


def _fetch() -> str:
    with tempfile.TemporaryDirectory() as folder:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={folder}")
        result = subprocess.run([*pip, _WHEEL], capture_output=True, text=True, check=False)
        if result.returncode:
            raise NoAxe(f"pip download {_WHEEL}: {result.stderr.strip()[-300:]}")
        [wheel] = Path(folder).glob("*.whl")
        return zipfile.ZipFile(wheel).read(_SCRIPT).decode()


def check(browser: Browser, *tags: str) -> Report:
    """Check what is shown by the rules that have one of these tags, by default by all that are on.

    It is run by DevTools: the page's own policy lets no script in that it has not brought.
    """
    browser.devtools("Runtime.evaluate", expression=script())
    found = browser.run_async(_RUN, tags)
    if "error" in found:
        raise NoAxe(found["error"])
    lines = [
        f"{each['id']} ({each['impact']}): {each['help']}: {node['html'][:200]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
    return Report(found["version"], found["passes"], tuple(lines))
