"""Numbers with their nouns, in English."""


def count(number: int, noun: str) -> str:
    """A number and its noun: 1 mail, 2 mails. For nouns whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def who_waits(senders: int, mails: int) -> str:
    """Waiting mail: that of senders who can be decided about, and of all others."""
    if mails and not senders:
        return f"{count(mails, 'mail')} without a usable sender"
    return f"{count(senders, 'sender')}, {count(mails, 'mail')}"
