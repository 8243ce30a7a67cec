"""The stream of a channel: numbers, bounds, and what came after a position."""

from __future__ import annotations

import pytest

from djhookbox.server.core.stream import Position, Publication, Stream, StreamState, new_epoch


def filled(*times: float) -> Stream:
    stream = Stream(StreamState("e"))
    for at in times:
        stream.add(Publication(stream.offset + 1, at, {"payload": at}))
    return stream


def after(stream: Stream, cursor: str) -> tuple[list[int], int | None]:
    publications, missed = stream.after(Position.parse(cursor))
    return [publication.offset for publication in publications], missed


def test_a_cursor_is_a_text() -> None:
    position = Position(new_epoch(), 12)
    assert Position.parse(str(position)) == position
    assert filled(1, 2).position == Position("e", 2)


@pytest.mark.parametrize(
    "text",
    ["", ":", "e", "e:", ":1", "e:-1", "e:1.5", "e:x", "e:1:2", " e:1", "e:1\n", "é:1", "e:١",
     f"{'e' * 33}:1", "e:1234567890123456"],
)  # fmt: skip
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        Position.parse(text)


def test_what_came_after() -> None:
    stream = filled(1, 2, 3)
    assert after(stream, "e:0") == ([1, 2, 3], 0)
    assert after(stream, "e:2") == ([3], 0)
    assert after(stream, "e:3") == ([], 0)


def test_what_is_there_no_longer_is_counted() -> None:
    stream = filled(1, 2, 3, 4)
    stream.trim(4, 2, 0)
    assert after(stream, "e:0") == ([3, 4], 2)
    assert after(stream, "e:1") == ([3, 4], 1)
    assert after(stream, "e:2") == ([3, 4], 0)
    stream.trim(100, 2, 10)
    assert after(stream, "e:1") == ([], 3)
    assert after(stream, "e:4") == ([], 0)


@pytest.mark.parametrize("cursor", ["other:0", "other:2", "e:5"])
def test_a_position_of_another_log_says_nothing(cursor: str) -> None:
    assert after(filled(1, 2), cursor) == ([1, 2], None)


def test_it_goes_on_from_what_was_kept() -> None:
    stream = Stream(StreamState("e", 7, (Publication(7, 1, {}),)))
    stream.add(Publication(8, 2, {}))
    assert after(stream, "e:5") == ([7, 8], 1)
    assert stream.position == Position("e", 8)


# ---- streams that the site numbers ---------------------------------------------------------------


def numbered(*, renewed: bool = False) -> Stream:
    """Return a stream of four publications, of which the last two are kept, as 13 and 14 of all."""
    kept = tuple(Publication(offset, offset, {}, 10, number=offset + 10) for offset in (3, 4))
    return Stream(StreamState("e", 4, kept, "i", began=10, renewed=renewed))


@pytest.mark.parametrize(
    ("cursor", "found", "is_complete"),
    [
        ("e:3", ([4], 0), True),
        ("e:2", ([3, 4], 0), True),
        ("e:1", ([3, 4], 1), False),
        ("i-14:0", ([], 0), True),
        ("i-13:0", ([4], 0), True),
        ("i-12:0", ([3, 4], None), False),
        ("j-13:0", ([3, 4], None), True),
        ("i-x:0", ([3, 4], None), True),
    ],
)
def test_a_time_without_publications_is_a_position(
    cursor: str, found: tuple[list[int], int | None], is_complete: bool
) -> None:
    """`i-12` is where the channel stood at 12 of all numbers, before its first publication."""
    assert after(numbered(), cursor) == found
    assert numbered().is_complete_after(Position.parse(cursor)) is is_complete


def test_an_epoch_in_between_is_a_gap_that_nothing_closes() -> None:
    stream = numbered(renewed=True)
    assert after(stream, "i-9:0") == ([3, 4], None)
    assert stream.is_complete_after(Position.parse("i-9:0"))
    assert after(stream, "i-13:0") == ([4], 0)


def test_a_channel_without_publications_has_missed_none() -> None:
    stream = Stream(StreamState("i-12", 0, incarnation="i"))
    assert after(stream, "i-7:0") == ([], 0)
    assert stream.is_complete_after(Position.parse("i-7:0"))


def test_older_publications_are_added_if_they_fit() -> None:
    stream = numbered()
    older = [Publication(offset, offset, {}, 10, number=offset + 10) for offset in (1, 2)]
    assert not stream.extend_back([])
    assert not stream.extend_back(older[:1]), "there would be a gap"
    assert stream.extend_back(older)
    assert (stream.oldest, stream.weight) == (1, 40)
    assert after(stream, "i-10:0") == ([1, 2, 3, 4], 0), "the first of all is there"
