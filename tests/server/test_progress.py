"""How far the outbox was pulled: kept in a file, which may be gone, old or damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from djhookbox.server.channels import progress
from djhookbox.server.channels.progress import STATE_FILE, Progress, State
from djhookbox.server.tasks import Tasks

from ..stand_ins.waiting import until

STATE = State("incarnation", 7, "token")


async def test_the_next_process_continues_where_this_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "WRITE_SECONDS", 0.01)
    kept = Progress(str(tmp_path), Tasks())
    assert await kept.read() == State()
    kept.save(STATE)
    kept.save(STATE._replace(number=8))
    await until(lambda: kept._written.number == 8, "the file")
    assert await Progress(str(tmp_path), Tasks()).read() == STATE._replace(number=8)
    kept.save(STATE._replace(number=9))
    kept.write_now()
    assert (await Progress(str(tmp_path), Tasks()).read()).number == 9


@pytest.mark.parametrize("text", ["", "5", "null", "[1, 2]", "[1, 2, 3]", '{"a": 1}', "\0", "["])
async def test_a_damaged_file_is_like_none(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE_FILE).write_text(text)
    assert await Progress(str(tmp_path), Tasks()).read() == State()


async def test_a_folder_that_cannot_be_written_to_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Progress(str(tmp_path / "missing"), Tasks())
    assert await kept.read() == State()
    kept.state = STATE
    kept.write_now()
    assert "cannot be written" in caplog.text
    assert kept.state == STATE


async def test_without_a_folder_nothing_is_kept() -> None:
    kept = Progress("", Tasks())
    assert await kept.read() == State()
    kept.save(STATE)
    kept.write_now()
    assert await kept.read() == State()
