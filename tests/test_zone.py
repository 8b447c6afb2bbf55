"""Whose time zone counts."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailroom.engine.zone import host_zone

_SUMMER = datetime(2026, 7, 1, tzinfo=UTC)
_ZONES = Path("/usr/share/zoneinfo")


@pytest.mark.parametrize("name", ["Europe/Berlin", ":Europe/Berlin"])
def test_the_environment_goes_first(name: str, tmp_path: Path) -> None:
    zone = host_zone({"TZ": name}, tmp_path / "localtime")
    assert _SUMMER.astimezone(zone).hour == 2


@pytest.mark.skipif(not (_ZONES / "Asia/Tokyo").exists(), reason="no tzdata on this host")
def test_else_it_is_the_hosts(tmp_path: Path) -> None:
    os.symlink(_ZONES / "Asia/Tokyo", tmp_path / "localtime")
    assert _SUMMER.astimezone(host_zone({}, tmp_path / "localtime")).hour == 9


@pytest.mark.parametrize("environ", [{}, {"TZ": "No/Such"}, {"TZ": "../../etc/passwd"}])
def test_what_cannot_be_read_is_utc(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "localtime").write_bytes(b"no zone")
    assert host_zone(environ, tmp_path / "localtime") is UTC
