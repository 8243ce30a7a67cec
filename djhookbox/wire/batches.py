"""The limits of a batch of webhooks, and its answer.

The answer to a batch is `[true, {"answers": […]}]` with one entry for each call, in order: the
status and the body that the call would have been answered with if it had been made alone, or null
if it must be made alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .replies import BatchReply
from .values import MAX_DOCUMENT_DEPTH

#: Maximum number of calls in a batch.
MAX_CALLS = 100
#: Maximum number of bytes of the calls, as JSON.
MAX_BYTES = 262_144
#: Seconds that the site is expected to need for a batch, at most.
EXPECTED_SECONDS = 0.1
#: Seconds after which the site leaves the remaining calls of a batch undecided.
LONGEST_SECONDS = 0.25
#: Maximum nesting of an answer: that of single answers, in a list in a list in an object in a list.
MAX_DEPTH = MAX_DOCUMENT_DEPTH + 4


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to one call of a batch: an HTTP status and a JSON value."""

    status: int
    body: object


def write(answers: Sequence[str | None]) -> str:
    """Return the answer to a batch as JSON text.

    Args:
        answers: For each call the text that `write_one` returned, or None for "make it alone".

    """
    return '[true,{"answers":[' + ",".join(text or "null" for text in answers) + "]}]"


def write_one(status: int, body: str) -> str:
    """Return the answer to one call as JSON text, given its status and its body."""
    return f"[{status:d},{body}]"


def read(reply: BatchReply, calls: int) -> list[Answered | None]:
    """Return the answers to the calls of a batch; None for a call that must be made alone.

    Args:
        reply: The site's reply.
        calls: How many calls the batch had.

    Raises:
        ValueError: If the answers have another form, or there is not one for each call.

    """
    answers = reply.answers
    if len(answers) != calls:
        raise ValueError(f"the answer to a batch of {calls} does not have {calls} entries")
    return [_read_one(each) for each in answers]


def _read_one(answer: object) -> Answered | None:
    if answer is None:
        return None
    if isinstance(answer, list) and len(answer) == 2 and type(answer[0]) is int:
        return Answered(answer[0], answer[1])
    raise ValueError("an answer in a batch is not a status and a body")
