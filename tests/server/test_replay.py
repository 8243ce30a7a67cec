"""The recorded conversations with Hookbox 0.3.3, played against `runhookbox`.

Where the server answers otherwise on purpose, `deviations.json` says how and why. Each deviation
names the defect of the original (section 12 of its reference) or the point of the design that
explains it; one that the server does not need any more is a failure.

The server runs with the options for clients of 2011, which are off by default: CSP and REST calls
by GET, and set_config.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..needs import need
from .forked import runhookbox
from .transcripts import DEVIATIONS, FOLDER, ROOT, TRANSCRIPTS, arguments_for, replay, settings

AT_A_TIME = 12
#: Seconds for a server to start or to end, on a busy machine.
PATIENCE = 30.0

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_the_transcripts_are_there() -> None:
    need(replay, f"there are no transcripts at {FOLDER}; HOOKBOX_PROTOCOL says where they are")
    assert TRANSCRIPTS
    assert DEVIATIONS.keys() <= {transcript.name for transcript in TRANSCRIPTS}
    for deviation in DEVIATIONS.values():
        assert re.search(r"\bD\d\d\b|design, section", deviation["why"]), deviation["why"]


@asynccontextmanager
async def server(
    log: Path, port: int, callback_port: int, options: Mapping[str, str]
) -> AsyncIterator[None]:
    """Run the server of one transcript."""
    assert replay is not None
    arguments = arguments_for(port, callback_port, options)
    process = runhookbox(arguments, str(log))
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            if process.exitcode is not None or time.monotonic() > deadline:
                raise replay.ServerError(f"did not start:\n{log.read_text()}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
        yield
        if process.exitcode is not None:
            raise replay.ServerError(f"ended with status {process.exitcode}:\n{log.read_text()}")
    finally:
        process.terminate()
        await asyncio.to_thread(process.join, PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, list[str]]]:
    """Play the selected transcripts, several at a time: most of it is waiting for nothing."""
    assert replay is not None
    logs = tmp_path_factory.mktemp("logs")
    names = {item.callspec.id for item in request.session.items
             if item.path == request.path and hasattr(item, "callspec")}  # fmt: skip

    async def play(transcript: Any, gate: asyncio.Semaphore) -> tuple[str, tuple[str, list[str]]]:
        start = partial(server, logs / f"{transcript.name}.log")
        async with gate:
            deviation = DEVIATIONS.get(transcript.name)
            verdict, remarks = await replay.check(transcript, start, settings(), deviation)
        return transcript.name, (verdict, [str(remark) for remark in remarks])

    async def play_all() -> dict[str, tuple[str, list[str]]]:
        gate = asyncio.Semaphore(AT_A_TIME)
        return dict(await asyncio.gather(*(play(t, gate) for t in TRANSCRIPTS if t.name in names)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOOKBOX_TEST_FORKED", "1")
        patch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("run")))  # a run directory of its own
        return asyncio.run(play_all())


@pytest.mark.parametrize("name", [transcript.name for transcript in TRANSCRIPTS])
def test_transcript(name: str, verdicts: dict[str, tuple[str, list[str]]]) -> None:
    assert verdicts[name] == ("OK", [])
