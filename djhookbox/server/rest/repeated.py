"""Publications whose form repeats an earlier one, except for the message at its end.

Most publications have the channel, the secret and the options of an earlier one. Decoding and
checking these takes longer than anything else between the first byte and the channel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ...wire import records, rest
from ...wire.fields import number_of
from .bodies import fields, unquoted

#: Maximum bytes of the beginning of a form that is kept.
LONGEST_KEPT = 512
#: Maximum number of forms whose beginnings are kept.
MOST_KEPT = 1024
#: Once there are as many, one in so many others replaces one of them: keeping a form takes as long
#: as decoding it, and is in vain if thousands of channels take turns.
REPLACED = 16

#: What separates the beginning from the message.
_MESSAGE = b"&payload="
#: The fields of the message.
_NAMES = frozenset({"payload", "made", "traceparent"})


class _Kept(NamedTuple):
    """The beginning of a form.

    Attributes:
        request: The request in it, without the message.
        secrets: All secrets at the time when the one in the form was found to be correct.

    """

    request: rest.Publish
    secrets: tuple[str, ...]


class Repeated:
    """Keep the beginnings of forms whose secret was correct."""

    def __init__(self) -> None:
        #: By the header with the secret, and the beginning of the form; the oldest first. Looking
        #: one up compares hashes first, so the time that it takes says nothing about a secret.
        self._kept: dict[tuple[str | None, bytes], _Kept] = {}
        #: The number of forms that came while there was no room.
        self._passed = 0

    def read(
        self, header: str | None, body: bytes, secrets: tuple[str, ...]
    ) -> tuple[rest.Publish, str] | None:
        """Return the request in a form and its payload, which is not in the request.

        Return None if the form has to be decoded and checked.

        Args:
            header: The header with the secret, if there is one.
            body: The form.
            secrets: All secrets that are correct now.

        """
        beginning, _, message = body.partition(_MESSAGE)
        kept = self._kept.get((header, beginning))
        if kept is None or kept.secrets is not secrets:
            return None
        payload, _, others = message.partition(b"&")
        if not payload:
            return None  # it counts as missing
        try:
            text = unquoted(payload.decode())
            request = _extended(kept.request, others) if others else kept.request
        except ValueError:
            return None  # decoding all of it finds what is wrong
        return None if request is None else (request, text)

    def keep(self, header: str | None, body: bytes, secrets: tuple[str, ...]) -> None:
        """Keep the beginning of a form that was accepted, if another may repeat it."""
        beginning, found, message = body.partition(_MESSAGE)
        if not found or len(beginning) > LONGEST_KEPT:
            return
        is_full = len(self._kept) >= MOST_KEPT
        if is_full:
            self._passed += 1
            if self._passed % REPLACED:
                return
        form = fields(beginning)
        if "channel_name" not in form or not _NAMES.isdisjoint(form):
            return
        request = records.from_form(rest.Publish, form)
        if request.key or request.send_hook:
            return  # these are never published at once
        if _extended(request, message.partition(b"&")[2]) is None:
            return  # the secret may be there
        options = request.options or {}
        if any(isinstance(value, dict | list) for value in options.values()):
            return  # these may be changed where they are used
        if is_full:
            del self._kept[next(iter(self._kept))]
        self._kept[header, beginning] = _Kept(request, secrets)


def _extended(request: rest.Publish, others: bytes) -> rest.Publish | None:
    """Return a request with the fields after its payload; None if there are other ones.

    Raises:
        ValueError: If a field is invalid.

    """
    form = fields(others)
    if others.count(b"&") > 1 or not form.keys() <= {"made", "traceparent"}:
        return None
    made = number_of("made", form["made"]) if "made" in form else None
    return replace(request, made=made, traceparent=form.get("traceparent", ""))
