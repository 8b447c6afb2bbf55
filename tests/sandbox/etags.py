"""ETags (RFC 9110 §8.8.3) as servers write them, and which of them a condition may name."""

from tests.sandbox.profile import EtagForm


def shown(etag: str, form: EtagForm) -> str:
    """Return a strong ETag as the server shows it."""
    match form:
        case "strong":
            return etag
        case "weak":
            return f"W/{etag}"
        case "unquoted":
            return etag.strip('"')


def meant(condition: str, form: EtagForm) -> str:
    """Return the ETag that an If-Match means, as the server shows it.

    A weak one can match nothing (RFC 9110 §13.1.1), but Cyrus, which has strong ones, does not
    look; a server with weak ones must be given them as if they were strong, and one without
    quotation marks in its own spelling.
    """
    match form:
        case "strong":
            return condition.removeprefix("W/")
        case "weak":
            return f"W/{condition}" if condition.startswith('"') else condition.removeprefix("W/")
        case "unquoted":
            return condition
