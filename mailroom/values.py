"""Values: classes of declared fields, frozen and slotted.

They are used as the standard library's dataclasses, and a type checker takes them for those. At run
time :mod:`mailroom.valueclass` makes them, because ``dataclasses`` compiles methods for each class
anew at every start and keeps ``inspect``, ``ast``, ``dis`` and ``tokenize`` (docs/performance.md).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, fields, replace
else:
    from mailroom.valueclass import asdict, dataclass, field, fields, replace

__all__ = ["asdict", "dataclass", "field", "fields", "replace"]
