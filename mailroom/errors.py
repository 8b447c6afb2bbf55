"""The errors of the service, by what is to be done about them.

A message says what was attempted, on what, why it failed and what the user can do: lower case,
no full stop, no secret. Errors are translated at the seam where they arise and logged once,
where they are handled.
"""

from collections.abc import Sequence

EXIT_USAGE = 2  # argparse's
EXIT_BUG = 70
EXIT_CREDENTIALS = 77
EXIT_CONFIGURATION = 78


class MailroomError(Exception):
    """Root of every error that Mailroom raises on purpose."""


class ConfigurationError(MailroomError):
    """The configuration is wrong; the user corrects the file. Carries every problem at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class UsageError(MailroomError):
    """A command was typed that means nothing."""


class CredentialsRefused(MailroomError):
    """The server does not accept who we say we are. ``was_accepted``: it has done so before."""

    def __init__(self, message: str, *, was_accepted: bool = False) -> None:
        super().__init__(message)
        self.was_accepted = was_accepted


class Forbidden(MailroomError):
    """The server knows us, or does not say that it does not, and lets us do nothing (a bare 403):
    a ban that passes, or a place that is not ours. Worth a try after minutes, not seconds."""


class TransientError(MailroomError):
    """Network, 5xx, 429: the same request may succeed later.

    ``retry_after`` is the server's own wish in seconds, where it named one.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Untrusted(TransientError):
    """The server's certificate is signed by no authority that is trusted here."""


class Crowded(TransientError):
    """The server has done nothing, because too much is going on in the account at once."""


class SentUnsearched(TransientError):
    """The server cannot tell now whom the user has written to."""


class TimedOut(TransientError):
    """Nothing came in the time that a request has."""


class NoAnswer(TimedOut):
    """The server has taken the request and is silent."""


class Silent(TransientError):
    """The server answers nobody, so that nothing more is asked for now."""


class ProtocolError(MailroomError):
    """The server broke its protocol: bad JSON or XML, an impossible answer, a strange redirect."""


class TooLarge(ProtocolError):
    """The answer is larger than the request allows."""


class LastingTrouble(MailroomError):
    """Something that only the user can mend: an account that cannot work, mailboxes missing."""


class NoAddressBooks(LastingTrouble):
    """There is no CardDAV at the origin ``where``; ``said`` is what it answers."""

    def __init__(self, message: str, where: str = "", said: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.said = said


class Missing(LastingTrouble):
    """Mailboxes or contact groups that the configuration names are not on the server."""


class OrderRefused(MailroomError):
    """A request of a person that is not carried out. ``status`` is what HTTP calls that (400, 404,
    409, 502, 503), ``further`` what a program wants to know besides the message."""

    def __init__(self, status: int, message: str, **further: object) -> None:
        super().__init__(message)
        self.status = int(status)
        self.further = further


class SenderFailed(MailroomError):
    """One sender cannot be triaged now, for a reason that is that sender's alone."""


def exit_code(error: MailroomError) -> int:
    """What a process ends with that ends by this error."""
    match error:
        case ConfigurationError():
            return EXIT_CONFIGURATION
        case CredentialsRefused():
            return EXIT_CREDENTIALS
        case UsageError():
            return EXIT_USAGE
        case _:
            return 1
