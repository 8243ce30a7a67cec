"""Whatever is sent, over both transports: plain answers, connections that live, no ghosts.

`python -m bench.fuzz` does the same to a real process, a million times.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from bench import garbage
from djhookbox.server.protocol import csp, rtjp
from djhookbox.server.protocol.csp import BadBatch, Inbox, Outbox, Variables, parse_batch
from djhookbox.wire.closing import ABNORMAL

from ..tries import tries
from .rig import FakeConnection, Rig, turns

ROOT = Path(__file__).resolve().parents[2]
sequences = st.randoms(use_true_random=False)

# ---- the protocol -----------------------------------------------------------------------------


@given(st.binary() | st.text().map(str.encode) | sequences.map(lambda r: garbage.lines(r, 3)))
def test_a_batch_is_one_or_none(data: bytes) -> None:
    try:
        batch = parse_batch(data)
    except BadBatch:
        return
    text = Inbox().take(batch)
    text.encode()


@given(st.lists(st.integers(-5, 30)), st.lists(st.binary(max_size=5)), st.integers(0, 10))
def test_each_packet_counts_once(ids: list[int], pieces: list[bytes], null: int) -> None:
    """By the definition: in rising order of ids, up to the null packet."""
    packets = [
        csp.Received(number, None if place == null else data)
        for place, (number, data) in enumerate(zip(ids, pieces, strict=False))
    ]
    last, expected = 0, b""
    for packet in packets:
        if packet.data is None:
            break
        if packet.id > last:
            last, expected = packet.id, expected + packet.data
    inbox = Inbox()
    # In one batch or one by one, and all of it again: the same.
    text = inbox.take(packets[:3]) + "".join(inbox.take([p]) for p in packets[3:])
    assert text + inbox.take(packets) == Inbox().take(packets)
    decoded = expected.decode("utf-8", "replace")
    assert decoded.startswith(text)  # an unfinished character waits for its end
    assert inbox.last_id == last


@given(
    st.lists(st.sampled_from([b"a\r\n", b"b\r\nc\r\n", b"\xc3\xa9\r\n"])),
    st.lists(st.integers(-3, 30)),
)
def test_waiting_packets_are_numbered_without_gaps(frames: list[bytes], acks: list[int]) -> None:
    outbox = Outbox()
    for frame in frames:
        outbox.add(frame)
    outbox.end()
    outbox.add(b"too late\r\n")
    everything = outbox.after(0)
    count = sum(frame.count(b"\n") for frame in frames)
    assert [number for number, _ in everything] == list(range(1, count + 2))
    assert b"".join(data or b"" for _, data in everything) == b"".join(frames)
    highest = 0
    for ack in acks:
        outbox.acknowledge(ack)
        highest = max(highest, ack)
        assert outbox.after(0) == [packet for packet in everything if packet[0] > highest]
        assert outbox.size == sum(len(data or b"") for _, data in outbox.after(0))


names = st.sampled_from([*garbage.VARIABLES, "x"])
texts = st.text(max_size=8) | st.sampled_from(
    [text for choices in garbage.VARIABLES.values() for text in choices]
)


@given(st.lists(st.dictionaries(names, texts), max_size=4), st.binary(max_size=30), texts)
def test_nothing_comes_back_that_a_page_could_run(
    queries: list[dict[str, str]], data: bytes, text: str
) -> None:
    variables = Variables()
    for query in queries:
        variables.update(query)
    assert variables.content_type in (
        "text/html", "application/javascript", "text/javascript", "text/event-stream",
        "text/plain",
    )  # fmt: skip
    assert 0 <= variables.duration <= 60
    for answer in (
        variables.reply(text),
        variables.opening() + variables.batch([(1, data), (2, None)]),
        variables.opening() + variables.batch([]),
    ):
        assert answer.isascii()
        assert "<" not in answer
        assert len(answer) < 12_000
        # One call of one function, by name.
        before = r"(\s*([A-Za-z_$][\w$.]*|data: )?)*"
        after = r";?(\r?\n){0,2}(id: \d+\r\n)?(\r\n)*"
        assert re.fullmatch(rf"{before}\((\".*\"|\[.*\])\){after}", answer, re.ASCII)


@given(st.text(max_size=40))
def test_numbers(text: str) -> None:
    number = csp.integer(text)
    assert number is None or number == int(text)


# ---- the server, without a network ---------------------------------------------------------------


async def still_there(rig: Rig, client: FakeConnection) -> None:
    client.took()
    await client.receive('\r\n[77,"STILL THERE?",{}]\r\n')
    await turns(200)
    frames = [args for name, args in client.took() if name == "ERROR"]
    assert frames[-1]["id"] == 77


def rubbish_or_yes(rnd: random.Random) -> Callable[[Any], Any]:
    def answer(form: Any) -> Any:
        options = {
            key: garbage.value(rnd)
            for key in ("auto_subscribe", "auto_unsubscribe", "initial_data", "override_payload")
            if rnd.random() < 0.2
        }
        if "conn_id" in form and "payload" in form and rnd.random() < 0.3:
            options["name"] = garbage.value(rnd)
        elif "conn_id" in form:
            options["name"] = rnd.choice(["alice", "bob"])
        if rnd.random() < 0.1:
            options = {rnd.choice(["history_size", "state", "x"]): garbage.value(rnd)}
        return options

    return answer


@tries(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences)
async def test_any_frames_from_several_clients(
    make_rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture, rnd: random.Random
) -> None:
    caplog.clear()
    rig = make_rig(max_frame_size=2000)
    for hook in ("connect", "create_channel", "subscribe", "unsubscribe", "publish", "message"):
        rig.site.answers[hook] = rubbish_or_yes(rnd)
    clients = [rig.client() for _ in range(3)]
    for _ in range(6):
        client = rnd.choice(clients)
        text = garbage.lines(rnd, 5).decode("utf-8", "replace")
        cut = rnd.randrange(len(text) + 1)
        for part in (text[:cut], text[cut:]):
            await client.receive(part)
        if rnd.random() < 0.1:
            client.lost(ABNORMAL)
            clients[clients.index(client)] = rig.client()
    await turns(300)
    for client in clients:
        await still_there(rig, client)
        client.lost(ABNORMAL)
    await turns(300)
    rig.check()
    assert rig.hub.users == {}
    assert len(rig.server.runtime.connections) == 0
    await rig.server.runtime.tasks.finish(1)
    assert [record for record in caplog.records if record.exc_info] == []


@given(st.text() | sequences.map(garbage.frame))
def test_lines_are_answered_by_an_error_or_are_frames(line: str) -> None:
    result = rtjp.parse_line(line)
    if isinstance(result, rtjp.BadFrame):
        assert rtjp.encode("ERROR", {"id": result.id, "msg": result.problem})


# ---- a real process ------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.slow
def test_a_real_process() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench.fuzz", "--quick", "--frames", "8000", "--seed", "3"],
        cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=550, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^findings +0$", run.stdout, re.MULTILINE)
