"""Instants and spans for people."""

from datetime import datetime


def clock_face(timestamp: str) -> str:
    """An RFC 3339 instant in local time, with the date if it is not today."""
    local = datetime.fromisoformat(timestamp).astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """A span in its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
