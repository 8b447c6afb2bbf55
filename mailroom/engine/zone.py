"""The host's time zone, found as the C library does: $TZ, /etc/localtime, UTC (tzset(3))."""

from collections.abc import Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_LOCALTIME = Path("/etc/localtime")


def host_zone(environ: Mapping[str, str], localtime: Path = _LOCALTIME) -> tzinfo:
    """The time zone of people on this host; UTC if it cannot be read."""
    named = environ.get("TZ", "").removeprefix(":")
    try:
        if named:
            return ZoneInfo(named)
        with localtime.open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return UTC
