"""The errors of the service, sorted by what to do about them.

A message says what was attempted, on what, why it failed and what the user can do: lower case,
no full stop, no secret. Errors are translated where they arise and logged once, where they are
handled.
"""

from collections.abc import Sequence

EXIT_USAGE = 2  # argparse's
EXIT_BUG = 70
EXIT_CREDENTIALS = 77
EXIT_CONFIGURATION = 78


class MailroomError(Exception):
    """Root of every error that Mailroom raises on purpose."""


class ConfigurationError(MailroomError):
    """The configuration is wrong; the user has to correct it. Carries all problems at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class UsageError(MailroomError):
    """The command line makes no sense."""


class CredentialsRefused(MailroomError):
    """The server rejects our credentials. ``was_accepted``: it has accepted them before."""

    def __init__(self, message: str, *, was_accepted: bool = False) -> None:
        super().__init__(message)
        self.was_accepted = was_accepted


class Forbidden(MailroomError):
    """A bare 403, which does not speak of credentials: a ban that passes, or a place that is not
    ours. Worth another try after minutes, not seconds."""


class TransientError(MailroomError):
    """Network, 5xx, 429: the same request may succeed later.

    ``retry_after``: after how many seconds, if the server said so.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Untrusted(TransientError):
    """No authority that is trusted here has signed the server's certificate."""


class Crowded(TransientError):
    """The server has done nothing, because it has too many requests for the account at once."""


class SentUnsearched(TransientError):
    """The server cannot tell at the moment whom the user has written to."""


class TimedOut(TransientError):
    """Nothing came within the time for a request."""


class NoAnswer(TimedOut):
    """The server has taken the request, but does not answer."""


class Silent(TransientError):
    """The server answers no request, so no further ones are sent for now."""


class ProtocolError(MailroomError):
    """The server broke its protocol: bad JSON or XML, an impossible answer, a strange redirect."""


class TooLarge(ProtocolError):
    """The answer is larger than the request allows."""


class LastingTrouble(MailroomError):
    """Something that only the user can mend: an unusable account, missing mailboxes."""


class NoAddressBooks(LastingTrouble):
    """There is no CardDAV at the origin ``where``; ``said`` is its answer."""

    def __init__(self, message: str, where: str = "", said: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.said = said


class Missing(LastingTrouble):
    """The server lacks mailboxes or contact groups that the configuration names."""


class OrderRefused(MailroomError):
    """A person's request is not carried out. ``status`` is HTTP's (400, 404, 409, 502, 503);
    ``further`` has more for programs than the message."""

    def __init__(self, status: int, message: str, **further: object) -> None:
        super().__init__(message)
        self.status = int(status)
        self.further = further


class SenderFailed(MailroomError):
    """One sender cannot be triaged now, for a reason that concerns only that sender."""


def exit_code(error: MailroomError) -> int:
    """The exit code of a process that ends with this error."""
    match error:
        case ConfigurationError():
            return EXIT_CONFIGURATION
        case CredentialsRefused():
            return EXIT_CREDENTIALS
        case UsageError():
            return EXIT_USAGE
        case _:
            return 1
