"""The table of what was run on real servers."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import servers
from tests.servers import drawn

HEAD = "| server | what | day | passed | failed | skipped |\n|---|---|---|---|---|---|\n"


@dataclass
class Report:
    nodeid: str
    user_properties: list[tuple[str, str]] = field(default_factory=list)


def test_rows_of_a_series_are_replaced_and_others_stay_in_order() -> None:
    block = HEAD + "| Cyrus 3.10.1 | push | 2026-01-01 | 1 | 0 | 0 |\n"
    block += "| Cyrus 3.6.1 | push | 2026-01-01 | 1 | 0 | 2 |\n"
    new: servers.Table = {("Cyrus 3.10.2", "mail"): ("2026-02-02", (3, 1, 0))}
    assert drawn(block, new) == (
        HEAD
        + "| Cyrus 3.6.1 | push | 2026-01-01 | 1 | 0 | 2 |\n"
        + "| Cyrus 3.10.2 | mail | 2026-02-02 | 3 | 1 | 0 |\n"
    )
    assert drawn(drawn(block, new), {}) == drawn(block, new)


def test_outcomes_on_real_servers_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, document = tmp_path / "results", tmp_path / "servers.md"
    monkeypatch.setenv(servers.RESULTS, str(results))
    real = [("server", "Stalwart 0.15.5")]
    servers.note(
        {
            "passed": [
                Report("tests/contract/test_contacts.py::test_a[STALWART by jmap]", real),
                Report("tests/contract/test_jmap.py::test_b[sandbox]", [("server", "")]),
                Report("tests/test_jmap.py::test_c"),
            ],
            "error": [Report("tests/contract/test_contacts.py::test_d[STALWART by jmap]", real)],
            "warnings": [Report("no test", real)],
        }
    )
    document.write_text("before\n<!-- runs -->\n<!-- /runs -->\nafter\n", encoding="utf-8")
    servers.draw(results, document)
    *_, row, _, _ = document.read_text(encoding="utf-8").splitlines()
    assert row.startswith("| Stalwart 0.15.5 | all that Mailroom does with contacts, by JMAP | ")
    assert row.endswith(" | 1 | 1 | 0 |")


def test_the_document_has_a_place_for_it() -> None:
    text = servers.DOCUMENT.read_text(encoding="utf-8")
    assert text.count("<!-- runs -->\n") == text.count("<!-- /runs -->") == 1
