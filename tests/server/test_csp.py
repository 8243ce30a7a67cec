"""CSP without a loop: batches, what counts of them, what waits, how answers are shaped.

Section 4 of the reference, parameter by parameter.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from djhookbox.server.protocol.csp import (
    MAX_ID,
    BadBatch,
    Inbox,
    Outbox,
    Received,
    Variables,
    integer,
    parse_batch,
)

# ---- batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "packets"),
    [
        ("[]", []),
        ('[[1, 0, "text é"]]', [(1, "text é")]),
        ('[[1, 1, "dGV4dA=="]]', [(1, "text")]),
        ('[[1, 1, "dGV4dA"]]', [(1, "text")]),  # without padding, as the browser client sends it
        ('[[1, 1, "_-8"], [2, 1, "/+8="]]', [(1, b"\xff\xef"), (2, b"\xff\xef")]),
        ('[[1, 5, "text"]]', [(1, "text")]),  # other encodings decode nothing
        ('[[7, 0, "a"], [-3, 0, "b"], [7, 0, null]]', [(7, "a"), (-3, "b"), (7, None)]),
        ('[[1, 1, ""], [2, 0, ""]]', [(1, ""), (2, "")]),
        (f'[[{MAX_ID}, 0, null]]', [(MAX_ID, None)]),
    ],
)  # fmt: skip
def test_batches(text: str, packets: list[tuple[int, Any]]) -> None:
    expected = [
        Received(number, data.encode() if isinstance(data, str) else data)
        for number, data in packets
    ]
    assert parse_batch(text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "{}", "null", '"x"', "[1]", "[[]]", "[[1, 0]]", '[[1, 0, "a", 1]]',
        '[["1", 0, "a"]]', '[[true, 0, "a"]]', '[[1.0, 0, "a"]]', '[[1, "0", "a"]]',
        "[[1, 0, 5]]", '[[1, 0, ["a"]]]', '[[1, 1, "a"]]', '[[1, 1, "dGV4dA==="]]',
        '[[1, 1, "dG V4"]]', '[[1, 1, "é"]]', "[[1, 0, NaN]]", f'[[{MAX_ID + 1}, 0, "a"]]',
        '[[1, 0, "a"], 2]', "[" * 5000, "\ufeff[]",
    ],
)  # fmt: skip
def test_what_is_no_batch_counts_not_at_all(text: str) -> None:
    with pytest.raises(BadBatch):
        parse_batch(text.encode())


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(BadBatch):
        parse_batch(b"\xff\xfe[]")


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), (" 5 ", 5), ("+5", 5), ("-1", -1), ("007", 7), ("", None), ("x", None),
     ("1.5", None), ("1e3", None), ("٣", None), ("1_0", None), ("9" * 31, None), ("0x5", None)],
)  # fmt: skip
def test_integers(text: str, number: int | None) -> None:
    assert integer(text) == number


# ---- from the client ----------------------------------------------------------------------------


def packets(*ids: int) -> list[Received]:
    return [Received(number, b"%d " % number) for number in ids]


def test_packets_seen_before_are_skipped_and_gaps_are_fine() -> None:
    inbox = Inbox()
    assert inbox.take(packets(1, 2)) == "1 2 "
    assert inbox.take(packets(1, 2, 3)) == "3 "
    assert inbox.take(packets(0, -5, 3)) == ""
    assert inbox.take(packets(10)) == "10 "
    assert inbox.take(packets(9, 10, 11)) == "11 "
    assert inbox.last_id == 11


@pytest.mark.parametrize("number", [3, 2, 0, -1])
def test_the_null_packet_ends_it_whatever_its_id(number: int) -> None:
    inbox = Inbox()
    inbox.take(packets(1, 2))
    assert not inbox.ended
    assert inbox.take([*packets(3), Received(number, None), *packets(4)]) == "3 "
    assert inbox.ended
    assert inbox.take(packets(5)) == ""


def test_characters_may_be_cut_by_packets() -> None:
    euro = "€".encode()
    inbox = Inbox()
    assert inbox.take([Received(1, b"a" + euro[:1]), Received(2, euro[1:2])]) == "a"
    assert inbox.take([Received(3, euro[2:] + b"b")]) == "€b"
    assert inbox.take([Received(4, b"\xff")]) == "\ufffd"


# ---- to the client ------------------------------------------------------------------------------


def test_one_packet_for_each_frame_numbered_without_gaps() -> None:
    outbox = Outbox()
    outbox.add(b"a\r\n")
    outbox.add(b"b\r\nc\r\n")
    assert outbox.after(0) == [(1, b"a\r\n"), (2, b"b\r\n"), (3, b"c\r\n")]
    assert outbox.after(2) == [(3, b"c\r\n")]
    assert outbox.after(99) == []
    assert outbox.size == 9


def test_what_is_not_acknowledged_is_repeated() -> None:
    outbox = Outbox()
    outbox.add(b"a\r\nb\r\nc\r\n")
    for ack, waiting in ((-1, 3), (0, 3), (1, 2), (1, 2), (0, 2), (99, 0)):
        outbox.acknowledge(ack)
        assert (len(outbox.after(0)), outbox.size) == (waiting, 3 * waiting)
    outbox.add(b"d\r\n")  # an id beyond the last one was not taken for the future
    assert outbox.after(0) == [(4, b"d\r\n")]
    assert outbox.after(3) == [(4, b"d\r\n")]


def test_nothing_comes_after_the_null_packet() -> None:
    outbox = Outbox()
    outbox.add(b"a\r\n")
    outbox.end()
    outbox.end()
    outbox.add(b"b\r\n")
    assert outbox.after(0) == [(1, b"a\r\n"), (2, None)]
    outbox.acknowledge(2)
    assert (outbox.after(0), outbox.size) == ([], 0)


# ---- answers ------------------------------------------------------------------------------------

DATA = base64.urlsafe_b64encode(b"\xff\xfe\r\n").decode()


@pytest.mark.parametrize(
    ("query", "reply", "opening", "batch", "empty"),
    [
        ({}, '("OK")', "", f'([[7,1,"{DATA}"],[8,0,null]])', "([])"),
        # JSONP
        ({"rp": "cb12", "rs": ";", "bp": "cb13", "bs": ";"},
         'cb12("OK");', "", f'cb13([[7,1,"{DATA}"],[8,0,null]]);', "cb13([]);"),
        # streaming
        ({"is": "1", "bs": "\n"},
         '("OK")', "", f'([[7,1,"{DATA}"],[8,0,null]])\n', "([])\n"),
        # server-sent events
        ({"bp": "data: ", "bs": "\r\n", "se": "1"},
         '("OK")', "", f'data: ([[7,1,"{DATA}"],[8,0,null]])\r\nid: 8\r\n\r\n',
         "data: ([])\r\n\r\n"),
        ({"ps": "3", "p": "  \n"}, '("OK")', "     \n", None, "([])"),
        ({"ps": "2", "p": "cb"}, '("OK")', "  cb", None, "([])"),
    ],
)  # fmt: skip
def test_answers(
    query: dict[str, str], reply: str, opening: str, batch: str | None, empty: str
) -> None:
    variables = Variables()
    variables.update(query)
    assert variables.reply("OK") == reply
    assert variables.opening() == opening
    if batch is not None:
        assert variables.batch([(7, b"\xff\xfe\r\n"), (8, None)]) == batch
    assert variables.batch([]) == empty


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("rp", ["cb", "window.cb_1", "$", "data: "],
         ["<script>", "alert(1);cb", "a b", "1a", "é", "//", "data:text/html,", "cb\n", "x" * 129]),
        ("bp", ["cb", "data: "], ["<b>", "';alert(1)//", "\r\n\r\n", "id: 5"]),
        ("rs", [";", "\n", "\r\n", ";\r\n\r\n", "\n\n"],
         ["x", "<", ";;", "//", "\n\n\n", ";alert(1)", " "]),
        ("bs", [";", "\n", "\r\n", "\r\n\r\n"], ["</script>", "data: x\n\n", "-->"]),
        ("p", ["cb", " " * 1024, "\r\n"], ["<!DOCTYPE html>", " " * 1025, "<", "é", "a\n"]),
        ("ct", ["text/html", "application/javascript", "text/javascript", "text/plain",
                "text/event-stream", "TEXT/Plain"],
         ["image/svg+xml", "text/xml", "text/html; charset=utf-7", "text/html\r\nX: y", "x"]),
    ],
)  # fmt: skip
def test_texts_are_those_that_clients_need(name: str, good: list[str], bad: list[str]) -> None:
    attribute = {
        "rp": "reply_prefix", "rs": "reply_suffix", "bp": "batch_prefix", "bs": "batch_suffix",
        "p": "preamble", "ct": "content_type",
    }[name]  # fmt: skip
    default = getattr(Variables(), attribute)
    for text in good:
        variables = Variables()
        variables.update({name: text})
        assert getattr(variables, attribute) == (text.lower() if name == "ct" else text)
        for other in bad:  # ignored, so that the good one stays
            variables.update({name: other})
            assert getattr(variables, attribute) == (text.lower() if name == "ct" else text)
        variables.update({name: ""})  # D26: the original could not set it back
        assert getattr(variables, attribute) == default


@pytest.mark.parametrize(
    ("name", "attribute", "default", "values"),
    [
        ("ps", "padding", 0, {"5": 5, "0": 0, "-5": 0, "999999": 8192}),
        ("du", "duration", 30, {"0": 0, "1": 1, "-1": 0, "61": 60, " 7 ": 7}),
        ("se", "event_ids", 0, {"1": 1, "0": 0, "2": 1}),
        ("is", "streaming", 0, {"1": 1, "0": 0}),
        ("i", "interval", 0, {"5": 5, "100": 60}),
        ("g", "gzip", 0, {"1": 1, "0": 0}),
    ],
)
def test_numbers_have_bounds_and_what_is_none_is_ignored(
    name: str, attribute: str, default: int, values: dict[str, int]
) -> None:
    for text, value in values.items():
        variables = Variables()
        assert getattr(variables, attribute) == default
        variables.update({name: text})
        assert getattr(variables, attribute) == value
        for other in ("", "x", "1.5", "٣"):
            variables.update({name: other})
            assert getattr(variables, attribute) == value


def test_variables_hold_until_they_are_changed() -> None:
    variables = Variables()
    variables.update({"rp": "a", "du": "5"})
    variables.update({"rs": ";", "n": "0.5", "s": "x", "unknown": "y"})
    assert (variables.reply(1), variables.duration) == ("a(1);", 5)


@pytest.mark.parametrize(("duration", "patience"), [("30", 60), ("1", 2), ("0", 60)])
def test_patience_is_twice_the_duration(duration: str, patience: int) -> None:
    variables = Variables()
    variables.update({"du": duration})
    assert variables.patience == patience


def test_who_streams() -> None:
    for query, streams in (
        ({}, False), ({"is": "1"}, True), ({"ct": "text/event-stream"}, True), ({"se": "1"}, False),
    ):  # fmt: skip
        variables = Variables()
        variables.update(query)
        assert variables.streams is streams


def test_answers_are_ascii_and_open_no_tag() -> None:
    answer = Variables().reply("</script><!-- é\u2028 & 'x'")
    assert answer.isascii()
    assert not set("<>&") & set(answer)
