"""The answers to calls that fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ...wire.names import NameProblem
from ...wire.options import OptionError
from ..refusals import Refusal
from .forms import BadCall

_STATUSES = {"unavailable": 502, "malformed": 400, "forbidden": 403}


class NoChannel(LookupError):
    """The channel does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Channel {name} doesn't exist")


#: The exceptions with which a call may fail.
FAILURES = (NoChannel, BadCall, NameProblem, OptionError, Refusal)


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer to a failed call: a text, a short code, and the HTTP status."""

    msg: str
    code: str
    status: int


#: The exceptions that are answered, of the types in `FAILURES`.
Failing: TypeAlias = NoChannel | BadCall | NameProblem | OptionError | Refusal


def failure(error: Failing) -> Failure:
    """Return the answer for an exception."""
    if isinstance(error, NoChannel):
        return Failure(str(error), "no_channel", 200)
    if isinstance(error, Refusal):
        return Failure(error.reason, error.code, _STATUSES.get(error.code, 409))
    return Failure(str(error), "malformed", 400)
