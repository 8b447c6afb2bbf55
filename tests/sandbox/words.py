"""The words by which a search finds mails: an index for each header of addresses.

But for From it is made when it is first asked for: nobody pays for a header that is not searched.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tests.sandbox.mail import Mail


class WordIndex:
    """Finds mails by the words of their From, To, Cc or Bcc."""

    def __init__(self, mails: Mapping[str, Mail]) -> None:
        self._mails = mails
        #: Header → term → ids of the mails that have it there.
        self._by_header = {"from": defaultdict[str, set[str]](set)}

    def add(self, mail: Mail) -> None:
        """Have a mail found."""
        for header, index in self._by_header.items():
            _add(index, header, mail)

    def remove(self, mail: Mail) -> None:
        """Have a mail found no more."""
        for header, index in self._by_header.items():
            for term in _terms(header, mail):
                index[term].discard(mail.id)

    def find(self, header: str, terms: Sequence[str]) -> set[str]:
        """Return the ids of the mails that have all these terms in this header."""
        if header not in self._by_header:
            self._by_header[header] = defaultdict(set)
            for mail in self._mails.values():
                _add(self._by_header[header], header, mail)
        index = self._by_header[header]
        found = [index.get(term, set()) for term in terms]
        return set.intersection(*found) if found else set()


def _add(index: defaultdict[str, set[str]], header: str, mail: Mail) -> None:
    for term in _terms(header, mail):
        index[term].add(mail.id)


def _terms(header: str, mail: Mail) -> set[str]:
    return {term for address in mail.addresses(header) for term in address.terms()}
