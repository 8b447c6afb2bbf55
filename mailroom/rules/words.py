"""How numbers are said in English."""


def count(number: int, noun: str) -> str:
    """So many of them: 1 mail, 2 mails. For nouns whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
