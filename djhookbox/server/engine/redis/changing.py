"""Changes of channels that are under way: from the script to their turn among the versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ...core.changes import Accepted, Change, Subscribe, Unsubscribe
from ..base import EngineError, NotOpen
from .connecting import Reply
from .link import Operation
from .packing import Argument

if TYPE_CHECKING:
    from .engine import RedisEngine
    from .replicas import Replica


#: How often a change is repeated because Redis had another life of its channel.
MOST_REPEATS = 5


class Stale(Exception):
    """Another node has changed the options, and this one has not applied it yet."""


class Sink(Protocol):
    """What takes the answer to a change: a future, or something that applies the change at once."""

    def done(self) -> bool:
        """Return whether nobody wants the answer any more."""
        ...

    def set_result(self, accepted: Accepted, /) -> None:
        """Take the answer; everything before it has been applied."""
        ...

    def set_exception(self, error: type[BaseException] | BaseException, /) -> None:
        """Take a failure."""
        ...


class Direct:
    """A sink that applies the change to the core before it returns.

    Nothing can come between it and the next version, so that no turn has to be taken. A future, in
    contrast, is answered in a later turn of the event loop, and nothing is applied until then.
    """

    __slots__ = ("_is_done",)

    def __init__(self) -> None:
        self._is_done = False

    def done(self) -> bool:
        """Return whether it has been answered."""
        return self._is_done

    def set_result(self, accepted: Accepted, /) -> None:
        """Apply the change."""
        self._is_done = True
        self.apply(accepted)

    def set_exception(self, error: type[BaseException] | BaseException, /) -> None:
        """Report a failure."""
        self._is_done = True
        self.fail(error if isinstance(error, BaseException) else error())

    def apply(self, accepted: Accepted) -> None:
        """Apply the change; must not raise."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """Report a failure; must not raise."""
        raise NotImplementedError


class Submitted(Operation):
    """A script that has an operation key; without a lease, it is repeated after registering."""

    __slots__ = ("_answered", "_engine")

    def __init__(
        self, engine: RedisEngine, packed: bytes, answered: Callable[[Reply | Exception], None]
    ) -> None:
        super().__init__(packed, True)
        self._engine = engine
        self._answered = answered

    def done(self, reply: Reply | Exception) -> None:
        """Handle the reply."""
        if isinstance(reply, Exception) or reply[0] != b"LEASE":
            self._answered(reply)
        else:
            self._engine.park(self)


class Proposal(Operation):
    """A script that changes a channel; the answer waits for everything before it.

    Args:
        engine: The engine.
        replica: The channel.
        change: The change.
        number: The number of the operation.
        script: The script.
        rest: Its arguments after those that say which channel it is.
        sink: Takes the answer.
        accept: Returns the answer from the parts of the reply, and whether another operation with
            the same key has given it; None means one that has only a version.
        by_key: Whether code has given the key.

    """

    __slots__ = (
        "_accept", "_by_key", "_change", "_engine", "_number", "_replica", "_rest", "_script",
        "_sink", "repeats",
    )  # fmt: skip

    def __init__(
        self,
        engine: RedisEngine,
        replica: Replica,
        change: Change,
        number: str,
        script: str,
        rest: tuple[Argument, ...],
        sink: Sink,
        accept: Callable[[Change, Sequence[str], bool], Accepted] | None,
        by_key: bool,
    ) -> None:
        super().__init__(b"", True)
        self._engine = engine
        self._replica = replica
        self._change = change
        self._script = script
        self._rest = rest
        self._number = number
        self.repeats = 0
        self._sink = sink
        self._accept = accept
        self._by_key = by_key

    def address(self) -> None:
        """Name the channel as this node knows it now."""
        link = self._engine.link
        head = self._replica.head(self._engine.address.prefix, link.run_id)
        self.packed = link.packed(self._script, (head, *self._rest))

    def fail(self, error: Exception) -> None:
        """Refuse the change."""
        self.forget()
        if not self._sink.done():
            self._sink.set_exception(error)

    def forget(self) -> None:
        """Forget what this node took for granted when it made the change."""
        change, replica = self._change, self._replica
        if isinstance(change, (Subscribe, Unsubscribe)):
            replica.members[change.user.name] = None
            self._engine.openings.touched(replica.name)

    def done(self, reply: Reply | Exception) -> None:
        """Handle the reply."""
        sink, replica = self._sink, self._replica
        if isinstance(reply, Exception):
            self.fail(reply)
            return
        told = reply[0]
        if told == b"LEASE":
            self._engine.park(self)
        elif sink.done():
            pass
        elif told in (b"OK", b"AGAIN"):
            self._take(reply[1].decode().split(";"), told == b"AGAIN")
        elif told == b"STALE":
            sink.set_exception(Stale())
        elif told == b"VOID":
            sink.set_result(Accepted(replica.version, void=True))
        else:
            self._repeat()

    def _repeat(self) -> None:
        """Repeat the change once it is known what has become of the channel.

        Redis has not made it: it has lost the channel, or has another life of it.
        """
        engine, replica = self._engine, self._replica
        if engine.replicas.get(replica.name) is not replica:
            self.fail(NotOpen(replica.name))
        elif self.repeats == MOST_REPEATS:
            self.fail(EngineError("Redis has other lives of the channel all the time"))
        else:
            self.repeats += 1
            replica.held.append(self)
            if not replica.loading:
                engine.openings.reload(replica.name)

    def _take(self, parts: list[str], again: bool) -> None:
        replica = self._replica
        others = again and self._by_key and parts[3] != f"{self._engine.node}.{self._number}"
        accepted = self._accept(self._change, parts, others) if self._accept else None
        if accepted is None:
            if not parts[0]:
                self._sink.set_result(Accepted(replica.version, void=True))
                return
            accepted = Accepted(int(parts[0]))
        if accepted.void:
            self._sink.set_result(accepted)
        else:
            replica.own(accepted.version, self._change, accepted, self._sink)
