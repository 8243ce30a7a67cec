"""Commands as bytes: the pure Python code of redis-py takes several times as long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias


class Packed(NamedTuple):
    """Several arguments, packed already.

    Attributes:
        number: How many they are.
        data: Their bytes.

    """

    number: int
    data: bytes


#: What is sent: bytes as they are, text as UTF-8, numbers as Python writes them.
Argument: TypeAlias = "bytes | str | int | float | Packed"


def pack(arguments: Iterable[Argument]) -> Packed:
    """Return arguments as the protocol of Redis has them."""
    number = 0
    parts = []
    for each in arguments:
        if isinstance(each, Packed):
            number += each.number
            parts.append(each.data)
            continue
        if isinstance(each, bytes):
            data = each
        elif isinstance(each, str):
            data = each.encode()
        elif isinstance(each, bool):  # a whole number, as a history_size of true is
            data = b"%d" % each
        else:
            data = repr(each).encode()
        number += 1
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return Packed(number, b"".join(parts))


def pack_text(texts: Iterable[str]) -> Packed:
    """Return texts of ASCII characters as `pack` does, in a third of the time."""
    parts = [f"${len(text)}\r\n{text}\r\n" for text in texts]
    return Packed(len(parts), "".join(parts).encode("ascii"))
