"""The recorded conversations with Hookbox 0.3.3, played against nodes that share a Redis.

One node must behave as the server with the memory engine does. So must two, with the sockets of
each conversation spread over both at random, except for what `deviations_nodes.json` names: what
several nodes cannot keep (design, section 13).

HOOKBOX_TEST_SEED spreads the sockets in another way.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from djhookbox.management.commands.runhookbox import Command
from djhookbox.management.configuring import server_config

from ..needs import need
from ..redis_server import RedisServer
from .spread import spread
from .transcripts import DEVIATIONS, TRANSCRIPTS, arguments_for, replay, settings

#: The numbers of nodes.
SETUPS = {"one-node": 1, "two-nodes": 2}
#: What deviates on two nodes in addition.
NODES = json.loads((Path(__file__).parent / "deviations_nodes.json").read_text())
SEED = "1"
AT_A_TIME = 16

pytestmark = [pytest.mark.slow, pytest.mark.once]

Verdict = tuple[str, list[str]]


def test_deviations_of_two_nodes_say_why() -> None:
    need(replay, "there are no transcripts; HOOKBOX_PROTOCOL says where they are")
    assert NODES.keys() <= {transcript.name for transcript in TRANSCRIPTS}
    for deviation in NODES.values():
        assert re.search(r"design, section 13\b", deviation["why"]), deviation["why"]


@asynccontextmanager
async def server(
    url: str, starting: asyncio.Semaphore, count: int, name: str,
    port: int, callback_port: int, options: Mapping[str, str],
) -> AsyncIterator[None]:  # fmt: skip
    """Run the nodes of one transcript, which share nothing with those of others."""
    arguments = arguments_for(port, callback_port, options)
    parsed = vars(Command().create_parser("manage.py", "runhookbox").parse_args(arguments))
    config = replace(server_config(parsed), engine=f"{url}?prefix={name}:{port}:", run_dir="")
    seed = f"{os.environ.get('HOOKBOX_TEST_SEED', SEED)} {name}"
    async with spread(config, count, seed, starting):
        yield


def steps_of(deviation: Mapping[str, Any]) -> dict[int, list[Any]]:
    return {
        int(number): new if isinstance(new, list) else [new]
        for number, new in deviation.get("steps", {}).items()
    }


async def judge(transcript: Any, start: Any, count: int) -> Verdict:
    """Play a transcript; what two nodes do otherwise must be needed.

    If it differs, it is played once more: pauses of a second are recorded, and a busy machine makes
    them longer.
    """
    assert replay is not None
    steps = steps_of(DEVIATIONS.get(transcript.name, {}))
    more = steps_of(NODES.get(transcript.name, {})) if count > 1 else {}
    usual = transcript.replacing(steps)
    # With other seeds, the clients that matter may be on one node.
    second = steps if "HOOKBOX_TEST_SEED" in os.environ else steps | more
    for played in (steps | more, second):
        differences = await replay.play_async(transcript.replacing(played), start, settings())
        if not differences:
            break
    else:
        return "DIFFERS", [str(each) for each in differences]
    if more and "HOOKBOX_TEST_SEED" not in os.environ:
        differences = await replay.play_async(usual, start, settings())
        stale = [n for n in more if not replay.still_needed(n, usual, differences)]
        if stale:
            return "STALE", [f"step {n} needs no deviation" for n in stale]
    return "OK", []


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, redis_process: RedisServer) -> dict[str, Verdict]:
    """Play the selected transcripts, many at a time: most of it is waiting for nothing."""
    selected = {item.callspec.id for item in request.session.items
                if item.path == request.path and hasattr(item, "callspec")}  # fmt: skip

    gate, starting = asyncio.Semaphore(AT_A_TIME), asyncio.Semaphore(2)

    async def play(transcript: Any, setup: str) -> tuple[str, Verdict]:
        count = SETUPS[setup]
        start = partial(server, redis_process.url, starting, count, transcript.name)
        async with gate:
            return f"{setup}-{transcript.name}", await judge(transcript, start, count)

    async def play_all() -> dict[str, Verdict]:
        # Those with the longest pauses begin first.
        ordered = sorted(TRANSCRIPTS, key=lambda transcript: -pauses(transcript))
        return dict(
            await asyncio.gather(*(
                play(transcript, setup)
                for transcript in ordered
                for setup in SETUPS
                if f"{setup}-{transcript.name}" in selected
            ))
        )  # fmt: skip

    return asyncio.run(play_all())


def pauses(transcript: Any) -> float:
    return float(sum(step.get("sleep", 0) for _, step in transcript.steps))


@pytest.mark.parametrize("name", [transcript.name for transcript in TRANSCRIPTS])
@pytest.mark.parametrize("setup", SETUPS)
def test_transcript(setup: str, name: str, verdicts: dict[str, Verdict]) -> None:
    verdict, remarks = verdicts[f"{setup}-{name}"]
    assert verdict == "OK", "\n".join(remarks)
