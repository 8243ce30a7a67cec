"""How far this process has pulled from the site's outbox, kept in a file across restarts."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - asyncio imports it late: no file may be left then
import logging
import os
from pathlib import Path
from typing import NamedTuple

from ...wire.values import dumps, loads
from ..tasks import Tasks

logger = logging.getLogger("djhookbox.server")

#: The file in the run folder.
STATE_FILE = "outbox.json"
#: Seconds until a change is written, with those that follow it: a pull does not wait for that. A
#: process that is killed before that pulls what follows the older number once more.
WRITE_SECONDS = 0.05


class State(NamedTuple):
    """The last number that was pulled, with what proves that it is one of this outbox."""

    incarnation: str = ""
    number: int = 0
    token: str = ""


class Progress:
    """The state, and the file that has it.

    Args:
        folder: The run folder; "" keeps the state in memory only.
        tasks: Runs what writes the file.

    Attributes:
        state: The state.

    """

    def __init__(self, folder: str, tasks: Tasks) -> None:
        self._file = Path(folder, STATE_FILE) if folder else None
        self._tasks = tasks
        self._is_writing = False
        self.state = self._written = State()

    async def read(self) -> State:
        """Read the file, and return the state."""
        self.state = self._written = await asyncio.to_thread(self._read)
        return self.state

    def save(self, state: State) -> None:
        """Change the state, and write it soon."""
        self.state = state
        if self._file is not None and state != self._written and not self._is_writing:
            self._is_writing = True
            self._tasks.start(self._write_soon())

    def write_now(self) -> None:
        """Write the state if that has not been done yet."""
        if self._file is not None and self.state != self._written:
            self._write(self.state)

    async def _write_soon(self) -> None:
        try:
            await asyncio.sleep(WRITE_SECONDS)
            state = self.state
            await asyncio.to_thread(self._write, state)
        finally:
            self._is_writing = False
        if state != self.state:
            self.save(self.state)

    def _read(self) -> State:
        if self._file is None:
            return State()
        try:
            incarnation, number, token = loads(self._file.read_text())
        except FileNotFoundError:
            return State()
        except (OSError, TypeError, ValueError) as error:
            logger.warning(
                "%s cannot be read, so the outbox is pulled from the start: %s", self._file, error
            )
            return State()
        if isinstance(incarnation, str) and isinstance(number, int) and isinstance(token, str):
            return State(incarnation, number, token)
        return State()

    def _write(self, state: State) -> None:
        if self._file is None:
            return
        draft = self._file.with_suffix(".new")
        try:
            draft.write_text(dumps(list(state)))
            os.replace(draft, self._file)
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._file, error)
            return
        self._written = state
