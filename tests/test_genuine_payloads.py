"""Payloads that Hookbox 0.3.3 sends instead of JSON, and texts that look like them."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djhookbox import parsing
from djhookbox.genuine import payloads
from djhookbox.wire import webhooks


def written(value: object, top: bool = True) -> str:
    """Write a JSON value as Python 2's `str()` does."""
    if isinstance(value, str):
        return value if top else "u" + _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(written(item, False) for item in value)}]"
    if isinstance(value, dict):
        items = (f"u{_quoted(key)}: {written(item, False)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, int) and not isinstance(value, bool) and not top:
        return f"{value}L" if abs(value) >= 2**63 else str(value)
    return repr(value)


def _quoted(text: str) -> str:
    quote = '"' if "'" in text and '"' not in text else "'"
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", quote: f"\\{quote}"}

    def character(char: str) -> str:
        code = ord(char)
        if char in named:
            return named[char]
        if 32 <= code < 127:
            return char
        if code < 256:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"

    return quote + "".join(map(character, text)) + quote


scalars = (
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
containers = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).filter(lambda value: isinstance(value, list | dict))


@given(containers)
def test_lists_and_objects_come_back(value: object) -> None:
    assert payloads.value(written(value)) == value


@given(st.none() | st.booleans() | st.integers())
def test_constants_and_integers_come_back(value: object) -> None:
    found = payloads.value(written(value))
    assert (found, type(found)) == (value, type(value))


@given(st.text())
def test_texts_are_never_taken_apart(text: str) -> None:
    value = payloads.value(text)
    assert value == text or written(value) == text or isinstance(value, float)


@given(st.text(alphabet="[]{},: uU'\"\\xLle0123456789.-+aeTrueNone\n\0é\ud800"))
def test_whatever_comes_is_json_afterwards(text: str) -> None:
    value = payloads.value(text)
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert not isinstance(value, list | dict) or value in ([], {}) or "".join(text.split())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{u'a': u'\\xe9'}", {"a": "é"}),
        ("[]", []),
        ("{}", {}),
        ("[u'\\u20ac', u'\\U0001f600', u'\\n\\r\\t\\x00\\x7f']", ["€", "😀", "\n\r\t\0\x7f"]),
        ("""[u'it"s', u"it's", u'"\\'', u'\\\\n']""", ['it"s', "it's", "\"'", "\\n"]),
        ("[1, -1, 0, 12345678901234567890L, True, False, None]",
         [1, -1, 0, 12345678901234567890, True, False, None]),
        ("[0.1, -0.0, 1e+16, 1e-07, 100000.0]", [0.1, -0.0, 1e16, 1e-07, 1e5]),
        ("{u'a': {u'b': [[], {}, {u'': None}]}, u'c': u', '}",
         {"a": {"b": [[], {}, {"": None}]}, "c": ", "}),
        ("12345678901234567890", 12345678901234567890),
        ("0.3", 0.3),
        ("1e+12", 1e12),
        ("100.0", 100.0),
    ],
)  # fmt: skip
def test_what_python_2_wrote(text: str, value: object) -> None:
    found = payloads.value(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "hello", "it's {broken", "true", "null", " True", "None ", "u'a'", '"quoted"',
        # Numbers as Python 2 does not write them: telephone numbers, prices, versions.
        "007", "+5", "-0", "1.50", "1.", ".5", "5L", "1_000", "0x10", "1E5", "1e5", "٣", "1.0.0",
        "0.30000000000000004", "inf", "nan", "1e999", "9" * 5000, "1." + "1" * 50,
        # What is JSON, or Python 3, or nearly right.
        '{"a": 1}', "['a']", "[u'a' ]", "[1,2]", "[1, ]", "[, ]", "[1 2]", "{1: 2}", "{u'a'}",
        "{u'a': }", "{u'a': 1, }", "{u'a', 1}", "{u'a': 1: 2}", "[1: 2]", "[1}", "{u'a': 1]",
        "[1]]", "[1], 2", "[1][2]", "[1] ", "[1", "{u'a': 1", "[", "{", "]", "[u'a]", '[u"a"]',
        "[u'\\q']", "[u'\\x4']", "[u'\\ud8']", "[u'\\U00110000']", "[u'\\']", "[u'\\'", "[u'é']",
        "[u'\n']", "[inf]", "[nan]", "[1e999]", "[1.50]", "[01]", "[--1]", "[+1]", "[1L2]",
        "[True False]", "[TrueFalse]", "[b'x']", "[ur'x']", "{1, 2}", "(1, 2)", "[(1, 2)]",
        "[" + "9" * 5000 + "]", "[" * 50_000, "[" * 50_000 + "]" * 50_000, "{u'a': " * 50_000,
        # What must never be run.
        "__import__('os').system('true')", "[__import__('os')]", "[1 for _ in iter(int, 1)]",
        "[9**9**9]", "[u'a' * 99]", "[lambda: 0]", "[1+1j]", "{u'a': open}",
    ],
)  # fmt: skip
def test_what_stays_a_text(text: str) -> None:
    assert payloads.value(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "[" + "1, " * 170_000 + "1]",
        "[u'" + "\\x" * 500_000 + "']",
        "[u'" + "\\\\" * 500_000,
        "[u'" + "\\'" * 500_000,
        "[" + "9" * 1_000_000 + "]",
        "9" * 1_000_000,
        "[u'a'" + ", u'" * 250_000,
        "{u'a': " * 150_000,
        "[" + "[], " * 130_000,
    ],
)
def test_the_time_is_bounded(text: str) -> None:
    began = time.process_time()
    payloads.value(text)
    assert time.process_time() - began < 5  # a second at most; not days


def test_as_deep_as_it_may_be() -> None:
    depth = payloads.MAX_DEPTH
    deepest = "[" * depth + "]" * depth
    assert payloads.value(deepest) == json.loads(deepest)
    assert payloads.value(f"[{deepest}]") == f"[{deepest}]"


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        ({"payload": "True"}, True),
        ({"payload": "true"}, "true"),
        ({"payload": '"a"'}, '"a"'),
        # Later versions of Hookbox send JSON and name the sender.
        ({"payload": '{"a": true}', "originator": "alice"}, {"a": True}),
    ],
)
def test_which_hookbox_it_was(form: dict[str, str], payload: object) -> None:
    fields = {"action": "publish", "channel_name": "/a/", **form}
    call = parsing.parse(webhooks.Publish, fields, embedded=False)
    assert parsing.payload_of(call) == payload


@given(st.dictionaries(st.sampled_from(["payload", "originator", "user", "conn_id"]), st.text()))
def test_only_malformed_call_is_raised(form: dict[str, str]) -> None:
    with suppress(parsing.MalformedWebhook):
        fields = {"action": "publish", "channel_name": "/a/", **form}
        call = parsing.parse(webhooks.Publish, fields, embedded=False)
        parsing.payload_of(call)
        parsing.publisher_of(call)
