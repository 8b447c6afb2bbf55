"""Numbers with their nouns, in English."""


def count(number: int, noun: str) -> str:
    """A number and its noun: 1 mail, 2 mails. For nouns whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
