"""Channels as Redis holds them. To Redis, names, payloads, states and options are only bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....wire.options import ChannelOptions
from ....wire.values import JSON, MAX_DOCUMENT_DEPTH, JSONObject, dumps, loads
from ...core.changes import HistoryEntry, Member, Snapshot
from ...core.keeping import OVERHEAD, weigh
from ...core.replicas import options_of
from ...core.stream import Publication, StreamState
from ...core.values import timestamp
from .packing import Argument


def raw(text: str) -> bytes:
    """Return a text as bytes; keys of states may contain lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def name_of(data: bytes) -> str:
    """Return a text from its bytes."""
    return data.decode("utf-8", "surrogatepass")


def read(blob: bytes | str) -> JSON:
    """Return a value that another node has written."""
    return loads(blob, max_depth=MAX_DOCUMENT_DEPTH)


# ---- to Redis ------------------------------------------------------------------


def remembers(options: ChannelOptions) -> bool:
    """Return whether the history of a channel shows who comes and goes."""
    return options.presenceful and not options.anonymous and not options.history_publish_only


def has_stream(options: ChannelOptions, recovery: float) -> bool:
    """Return whether Redis keeps publications; those of durable channels are the site's."""
    return not options.durable and (options.history_size > 0 or recovery > 0)


def whole(options: ChannelOptions) -> str:
    """Return all options as a text."""
    return dumps(options_of(options))


def pairs(state: Mapping[str, JSON]) -> list[Argument]:
    """Return the number of keys of a state, then keys and values."""
    found: list[Argument] = [len(state)]
    for key, value in state.items():
        found += (raw(key), dumps(value))
    return found


def entries(history: Sequence[HistoryEntry]) -> list[Argument]:
    """Return the number of history entries, then the entries."""
    return [len(history), *(f"E;{at!r};{dumps([kind, data])}" for at, kind, data in history)]


# ---- from Redis ----------------------------------------------------------------


def snapshot(reply: Sequence[Any]) -> Snapshot:
    """Return the channel of an answer to `open`."""
    _, created, meta, presence, state, history, position, numbered = reply
    found = _stream(position, numbered)
    options = read(meta[3])
    return Snapshot(
        id=meta[0].decode(),
        version=int(meta[1]),
        changed=int(meta[2]),
        options=options,
        state=_state(state),
        history=_history(history, found),
        members=_members(presence),
        stream=found,
        at=float(meta[4]),
        created=created == b"1",
    )


def publication(offset: int, at: float, blob: bytes) -> Publication:
    """Return a publication of a stream."""
    data = read(blob)
    return Publication(offset, at, data, OVERHEAD + weigh(data["payload"]))


def _stream(position: Sequence[bytes | None], numbered: Sequence[bytes]) -> StreamState | None:
    epoch, last = position
    if epoch is None or last is None:
        return None
    offset = int(last)
    found = []
    for number, entry in enumerate(numbered, offset - len(numbered) + 1):
        at, _, blob = entry.partition(b";")
        found.append(publication(number, float(at), blob))
    return StreamState(epoch.decode(), offset, tuple(found))


def _history(history: Sequence[bytes], stream: StreamState | None) -> list[HistoryEntry]:
    publications = {each.offset: each for each in stream.publications} if stream else {}
    found: list[HistoryEntry] = []
    for entry in history:
        kind, _, rest = entry.partition(b";")
        if kind == b"P":
            published = publications.get(int(rest))
            if published is not None:  # otherwise it has expired
                found.append((published.at, "PUBLISH", published.data))
            continue
        at, _, text = rest.partition(b";")
        if kind == b"E":
            given, data = read(text)
            found.append((float(at), given, data))
        else:
            data = {"user": name_of(text), "datetime": timestamp(float(at))}
            found.append((float(at), "SUBSCRIBE" if kind == b"S" else "UNSUBSCRIBE", data))
    return found


def _members(presence: Sequence[bytes]) -> list[Member]:
    found = []
    for field, value in _pairs(presence):
        order, since, shared, by_code, nodes = value.decode().split(";", 4)
        member = Member(
            name_of(field), float(since), shared == "1", by_code == "1", tuple(nodes.split(","))
        )
        found.append((int(order), member))
    found.sort(key=lambda pair: pair[0])
    return [member for _, member in found]


def _state(state: Sequence[bytes]) -> JSONObject:
    found = []
    for field, value in _pairs(state):
        order, _, blob = value.partition(b";")
        version, _, index = order.partition(b".")
        found.append((int(version), int(index), name_of(field), read(blob)))
    found.sort(key=lambda entry: entry[:2])
    return {key: value for _, _, key, value in found}


def _pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
