"""Many accounts over several processes, on one machine or more: each process has its shard of them.

An account belongs to the shard whose hash with its name is highest (rendezvous hashing). So nobody
keeps a list, and an added shard takes a part of each other's accounts and moves no others.
"""

import re
from dataclasses import dataclass
from typing import Self

from mailroom.errors import UsageError

# Files, units and users are named after a shard, so it has only one name: 02/6 is refused.
_NAME = re.compile(r"([1-9][0-9]{0,3})([/-])([1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """The shard ``number``, from 1, of ``count``."""

    count: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that is written ``2/6``. Raises UsageError."""
        found = cls._parsed(text, "/")
        if found is None:
            raise UsageError(
                f"{text!r} is not a shard: write 2/6 for the second of six, numbers from 1 to 9999"
            )
        return found

    @classmethod
    def of_instance(cls, name: str) -> Self | None:
        """The shard whose unit's instance has this name; None if there is none."""
        return cls._parsed(name, "-")

    @classmethod
    def having(cls, account: str, count: int) -> Self:
        """The one of ``count`` shards that has the account."""
        shards = (cls(count, number) for number in range(1, count + 1))
        return max(shards, key=lambda shard: shard._weight(account))

    def has(self, account: str) -> bool:
        return self == self.having(account, self.count)

    @property
    def instance(self) -> str:
        """The name of its unit's instance, and of all else that cannot have a slash in its name."""
        return f"{self.number}-{self.count}"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def _weight(self, account: str) -> bytes:
        import hashlib  # noqa: PLC0415 - 2.6 MiB, which a service without shards saves

        return hashlib.blake2b(f"{self.number}/{account}".encode(), digest_size=8).digest()

    @classmethod
    def _parsed(cls, text: str, between: str) -> Self | None:
        found = _NAME.fullmatch(text)
        if found is None or found[2] != between or int(found[1]) > int(found[3]):
            return None
        return cls(int(found[3]), int(found[1]))
