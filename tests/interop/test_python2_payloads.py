"""What Hookbox 0.3.3 sends to the publish webhook is the notation of Python 2 (D01)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.genuine import payloads

from ..integration.processes import Site
from ..tries import tries
from . import genuine
from .conftest import Enter

pytestmark = [pytest.mark.process, pytest.mark.slow]

#: What `hookbox.channel` and `hookbox.server` make of a payload, for one after the other.
WRITER = """
import json, sys, urllib, urlparse
while True:
    line = sys.stdin.readline()
    if not line:
        break
    payload = json.loads(line)
    if isinstance(payload, unicode):
        payload = payload.encode('utf-8')
    form = urlparse.parse_qs(urllib.urlencode({'payload': payload}), True)
    sys.stdout.write(json.dumps(form['payload'][0]) + '\\n')
    sys.stdout.flush()
"""

#: Values, and what only looks like the notation of a value.
PAYLOADS = (
    None, True, False, 0, -7, 2**31, 2**63, -(2**200), 1.5, -0.25, 1e100, 1e-7,
    "", "hello", "Grüße, 世界 🎉", "it's", 'a "quote"', "back\\slash", "two\nlines\tand\x00\x7f",
    "u'text'", "{u'a': ", "[1, 2", "nothing", "__import__('os').system('true')", " None",
    [], {}, [[]], [{}], {"a": []},
    [None, True, False, 1, 2**64, 1.1, 1e22, "text"],
    ["it's", 'a "quote"', "both ' and \"", "back\\slash", "é", "\x85\xa0\u2028", "🎉", "\ud83c"],
    {"text": "Grüße", "ключ": {"список": [1, {"x": None}]}, "it's": "", "": 0, "u'x'": "None"},
    {"deep": [[[[[[[[[[[[{"er": True}]]]]]]]]]]]]},
)  # fmt: skip

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["'", '"', "\\", "u'", "True", "\\x41", "\\u0041", "\r\n", "], [", "': u'"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | scalars.map(str), inner),
    max_leaves=30,
)
containers = st.lists(values) | st.dictionaries(st.text(), values)


@pytest.fixture(scope="module")
def written() -> Iterator[Callable[[object], str]]:
    """Return what writes a value as 0.3.3 does, in its own Python."""
    with subprocess.Popen(
        [genuine.PYTHON, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def write(value: object) -> str:
            writer.stdin.write(json.dumps(value) + "\n")
            writer.stdin.flush()
            text: str = json.loads(writer.stdout.readline())
            return text

        yield write
        writer.stdin.close()


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_known_values(written: Callable[[object], str], payload: object) -> None:
    assert same(payloads.value(written(payload)), payload)


@tries(200)
@given(payload=containers)
def test_any_list_and_object(written: Callable[[object], str], payload: object) -> None:
    assert same(payloads.value(written(payload)), payload)


@tries(100)
@given(payload=st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_any_number(written: Callable[[object], str], payload: float) -> None:
    # Alone it is written by str(), which keeps twelve digits of a float.
    expected = float(f"{payload:.12g}") if isinstance(payload, float) else payload
    assert same(payloads.value(written(payload)), expected)


def test_through_the_process_into_the_history(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/", publish_audience="signed_in")
    alice = enter(f"alice{word}")
    alice.subscribe(f"/{word}/")
    # The history writes what no database can keep in a way of its own.
    sent = [
        payload
        for payload in PAYLOADS
        if not any(hard in json.dumps(payload) for hard in ("\\u0000", '\\ud83c"'))
    ]
    for payload in sent:
        alice.publish(f"/{word}/", payload)
    rows = site.rows("Publication", len(sent), channel=f"/{word}/")
    assert [row["payload"] for row in rows] == sent


def same(read: Any, written: Any) -> bool:
    """Tell whether two values are equal, true not being 1, nor 1.0."""
    if type(read) is not type(written):
        return False
    if isinstance(read, list):
        return len(read) == len(written) and all(map(same, read, written))
    if isinstance(read, dict):
        return read.keys() == written.keys() and all(same(read[k], written[k]) for k in read)
    return bool(read == written)
