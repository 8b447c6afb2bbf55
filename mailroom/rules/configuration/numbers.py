"""What people mean by a number that YAML 1.1 reads as something else, and how to write it."""

import re

_CLOCK = re.compile(r"\d{1,6}(?::[0-5]?\d){1,2}")
_UNIT = re.compile(r"([\d.,]{1,20})(s|sec|seconds?|m|min|minutes?|h|hours?)")
_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
# A number in every version of YAML; with a leading zero it may be octal, or text.
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,6})?")
_LARGEST = 1e12
_BASED = re.compile(r"[-+]?0[xbo][\da-f]{1,20}")


def number_meant(text: str) -> float | None:
    """The number that people mean by a text that YAML 1.1 does not read as one, or None.

    ``1e2`` has no dot and no sign in the exponent, ``1,5`` a comma, ``0x10`` and ``1:30`` (minutes
    and seconds) have no form in JSON, ``2m`` has a unit; the numbers of the file are seconds.
    """
    compact = "".join(text.replace("_", "").split()).lower()
    if clock := _CLOCK.fullmatch(compact):
        total = 0
        for part in clock[0].split(":"):
            total = 60 * total + int(part)
        return float(total)
    digits, seconds = compact, 1.0
    if unit := _UNIT.fullmatch(compact):
        digits, seconds = unit[1], _SECONDS[unit[2]]
    number = _plain_number(digits.replace(",", ".", 1))
    return None if number is None else number * seconds


def in_digits(number: float) -> str:
    """Without an exponent: YAML 1.1 reads ``1e2`` and ``1e-07`` as text."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def is_plain_number(text: str) -> bool:
    """Whether YAML would read the text as a number, were it not in quotes."""
    return _PLAIN.fullmatch(text) is not None


def _plain_number(digits: str) -> float | None:
    """The number, or None if it has too many digits for people to read."""
    try:
        number = float(int(digits, 0) if _BASED.fullmatch(digits) else digits)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < _LARGEST else None
