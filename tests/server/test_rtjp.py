"""RTJP: cutting a stream into frames, the checks of section 2 of the reference, JSON."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.server.protocol.rtjp import BadFrame, Frame, Parser, encode, parse_line

from ..wire.json_values import json_values

LIMIT = 40

#: Text that is rich in what matters to the parser.
pieces = st.sampled_from([
    "\r\n", "\r", "\n", "", " ", '[1,"A",{}]', '[1,"A",{"b":"é\\r\\n"}]', "[", "]", "x" * 39,
    "x" * 40, "x" * 41, "\ud800", "\x00", '"', "NaN",
])  # fmt: skip
streams = st.lists(pieces | st.text(max_size=5), max_size=30).map("".join)


def feed(parser: Parser, *texts: str) -> list[Frame | BadFrame]:
    return [frame for text in texts for frame in parser.feed(text)]


def too_large(line: str) -> BadFrame:
    number = line[1:32].partition(",")[0].strip(" \t\r\n")
    begins = line.startswith("[") and "," in line[:32]
    whole = begins and re.fullmatch("-?(0|[1-9][0-9]{,18})", number) is not None
    frame_id = int(number) if whole and -(2**63) <= int(number) < 2**63 else None
    return BadFrame(frame_id, f"Frame too large (at most {LIMIT} bytes)", "limit")


def expected(text: str) -> Iterator[Frame | BadFrame]:
    """Say by the definition what a stream holds: lines ended by CR LF, each on its own."""
    for line in text.split("\r\n")[:-1]:
        size = len(line.encode("utf-8", "surrogatepass"))
        yield too_large(line) if size > LIMIT else parse_line(line)


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@given(streams, st.lists(st.integers(min_value=0), max_size=20))
def test_any_cutting_of_any_text_gives_the_same_frames(text: str, places: list[int]) -> None:
    assert feed(Parser(LIMIT), *cut(text, places)) == list(expected(text))


@given(streams)
def test_one_character_at_a_time(text: str) -> None:
    assert feed(Parser(LIMIT), *text) == list(expected(text))


@given(st.lists(pieces | st.text(max_size=100), max_size=40))
def test_memory_is_bounded(texts: list[str]) -> None:
    parser = Parser(LIMIT)
    for text in texts:
        feed(parser, text)
        kept = "".join(parser._parts or ())
        assert len(kept.encode("utf-8", "surrogatepass")) <= LIMIT + 1


def test_an_idle_parser_keeps_nothing() -> None:
    parser = Parser(LIMIT)
    feed(parser, '[1,"A",{}]\r\n')
    assert parser._parts is None


def test_a_line_of_the_longest_allowed_length_may_be_cut_before_its_end() -> None:
    line = '[1,"A",{' + " " * (LIMIT - 10) + "}]"
    assert len(line) == LIMIT
    frame = Frame(1, "A", {})
    assert feed(Parser(LIMIT), line, "\r", "\n") == [frame]
    assert feed(Parser(LIMIT), line + "\r", "\n") == [frame]
    assert feed(Parser(LIMIT), line[:5], line[5:] + "\r", "", "\n") == [frame]


def test_after_a_line_that_is_too_long_the_next_one_counts() -> None:
    parser = Parser(LIMIT)
    assert feed(parser, "x" * 50, "y" * 1000, "\r") == []
    assert feed(parser, '\n[1,"A",{}]\r\n') == [too_large("x"), Frame(1, "A", {})]


@pytest.mark.parametrize("cut", [2, 10, 41, 42, 60])
def test_what_is_too_large_is_refused_by_its_id(cut: int) -> None:
    line = '[17, "PUBLISH", {"payload": "' + "x" * 100 + '"}]\r\n'
    problem = f"Frame too large (at most {LIMIT} bytes)"
    assert feed(Parser(LIMIT), line[:cut], line[cut:]) == [BadFrame(17, problem, "limit")]


def test_ten_thousand_frames_in_one_text() -> None:
    text = "".join(f'[{n},"A",{{}}]\r\n' for n in range(10_000))
    frames = feed(Parser(LIMIT), text)
    assert [frame.id for frame in frames] == list(range(10_000))


@pytest.mark.parametrize(
    ("line", "frame_id", "problem"),
    [
        ("", None, "Invalid json"),
        ("{bad", None, "Invalid json"),
        ("[1,'A',{}]", None, "Invalid json"),
        ('[1,"A",{"a":NaN}]', None, "Invalid json"),
        ('[1,"A",{"a":Infinity}]', None, "Invalid json"),
        ('[1,"A",{"a":1e999}]', None, "Invalid json"),
        ("[" * 5000 + "]" * 5000, None, "Invalid json"),
        ("[" * 200_000, None, "Invalid json"),
        ("1" * 5000, None, "Invalid json"),
        ("{}", None, "Invalid frame (not a list)"),
        ("null", None, "Invalid frame (not a list)"),
        ("[]", None, "Invalid frame length"),
        ("[7]", 7, "Invalid frame length"),
        ('["a"]', None, "Invalid frame length"),
        ('[7,"A",{},1]', 7, "Invalid frame length"),
        ('[1.0,"A",{}]', None, "Invalid frame id (must be int)"),
        ('["1","A",{}]', None, "Invalid frame id (must be int)"),
        ('[null,"A",{}]', None, "Invalid frame id (must be int)"),
        (f'[{2**63},"A",{{}}]', None, "Invalid frame id (must be int)"),
        (f'[{-(2**63) - 1},"A",{{}}]', None, "Invalid frame id (must be int)"),
        ('[1,"",{}]', 1, "Invalid frame name (must be string)"),
        ("[1,5,{}]", 1, "Invalid frame name (must be string)"),
        ("[1,null,{}]", 1, "Invalid frame name (must be string)"),
        ('[1,"A",[]]', 1, "Invalid frame keyword arguments (must be dictionary)"),
        ('[1,"A",null]', 1, "Invalid frame keyword arguments (must be dictionary)"),
    ],
)
def test_a_line_that_is_no_frame(line: str, frame_id: int | None, problem: str) -> None:
    assert parse_line(line) == BadFrame(frame_id, problem)


@pytest.mark.parametrize("number", ["0", "-5", "true", str(2**63 - 1), str(-(2**63))])
def test_ids_that_are_taken(number: str) -> None:
    assert parse_line(f'[{number},"A",{{}}]') == Frame(json.loads(number), "A", {})


def test_a_bare_lf_is_white_space() -> None:
    assert feed(Parser(100), '[1,\n"A",{}]\n\r\n') == [Frame(1, "A", {})]


@given(st.text())
def test_no_line_raises(line: str) -> None:
    assert isinstance(parse_line(line), (Frame, BadFrame))


@given(json_values)
def test_any_value_is_sent_as_one_line_of_ascii(value: Any) -> None:
    frame = encode("PUBLISH", {"payload": value})
    assert frame.endswith(b"\r\n")
    assert b"\n" not in frame[:-2]
    frame_id, name, args = json.loads(frame.decode("ascii"))
    assert type(frame_id) is int
    assert (name, args) == ("PUBLISH", {"payload": value})


def test_lone_surrogates_are_escaped() -> None:
    assert b"\\ud800" in encode("A", {"a": "\ud800"})
