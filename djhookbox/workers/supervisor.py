"""Start the workers, replace those that end, and roll them over one at a time.

The supervisor owns the listening sockets: one for each worker, all bound to the same address
(SO_REUSEPORT), so that the kernel spreads connections evenly. It keeps them open while a worker is
replaced. Connections that arrive in between wait for the replacement; none is refused or reset.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from .place import READY, Options, job

logger = logging.getLogger("djhookbox.workers")

#: Seconds before a worker that ended by itself is replaced. The pause doubles with each failure in
#: a row; a worker that served for `SETTLED` seconds starts the row anew.
FIRST_PAUSE = 0.5
MAX_PAUSE = 30.0
SETTLED = 60.0
#: Seconds within which a worker must serve.
START_TIMEOUT = 30.0
#: Seconds between two checks of whether a worker has sent anything, and how many checks without
#: anything mean that it hangs.
LOOK_SECONDS = 1.0
MOST_LOOKS = 15


class WorkersFailed(Exception):
    """The workers could not be started."""


@dataclass(slots=True, eq=False)
class _Worker:
    """A running worker."""

    number: int
    process: asyncio.subprocess.Process
    lifeline: socket.socket
    started: float = field(default_factory=time.monotonic)


class Supervisor:
    """Run workers until `stop()` is called.

    Args:
        listeners: One listening socket for each worker.
        command: The command of a worker. The number of its lifeline is appended.
        environment: The environment of the workers.
        options: Options for the workers, as JSON values.
        grace_period: Seconds that a worker has to stop; then it is killed.

    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        command: Sequence[str],
        environment: Mapping[str, str],
        options: Options,
        grace_period: float,
    ) -> None:
        self._listeners = listeners
        self._command = command
        self._environment = environment
        self._options = options
        self._grace_period = grace_period
        self._stop = asyncio.Event()
        self._roll = asyncio.Event()
        self._workers: set[_Worker] = set()
        self._starting: set[int] = set()

    def stop(self) -> None:
        """Stop the workers and end `run`."""
        self._stop.set()

    def roll_over(self) -> None:
        """Replace the workers by new processes, one at a time."""
        if not self._stop.is_set():
            self._roll.set()

    async def run(self, on_ready: Callable[[], None], on_alive: Callable[[], None]) -> None:
        """Start the workers and keep them running until `stop()` is called.

        Args:
            on_ready: Called once all workers serve.
            on_alive: Called about once a second.

        Raises:
            WorkersFailed: A worker ended, or did not serve in time, before all served.

        """
        places: list[asyncio.Task[None]] = []
        beat = asyncio.create_task(_beat(on_alive))
        stopped = asyncio.create_task(self._stop.wait())
        first = [asyncio.create_task(self._start(i)) for i in range(len(self._listeners))]
        try:
            begun = asyncio.gather(*first)
            await asyncio.wait((begun, stopped), return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                return
            workers = await begun
            on_ready()
            turn = asyncio.Lock()
            rolls = [asyncio.Event() for _ in workers]
            places = [
                asyncio.create_task(self._keep(index, worker, rolls[index], turn))
                for index, worker in enumerate(workers)
            ]
            places.append(asyncio.create_task(self._pass_on(rolls)))
            await asyncio.wait((stopped, *places), return_when=asyncio.FIRST_COMPLETED)
            for place in places:
                if place.done():
                    place.result()  # a fault of ours: end loudly instead of half alive
        finally:
            beat.cancel()
            stopped.cancel()
            for task in (*first, *places):
                task.cancel()
            await asyncio.gather(*first, *places, return_exceptions=True)
            await asyncio.gather(*(self._end(worker) for worker in list(self._workers)))

    async def _pass_on(self, rolls: Sequence[asyncio.Event]) -> None:
        while True:
            await self._roll.wait()
            self._roll.clear()
            logger.info("Replacing the %d workers one at a time", len(rolls))
            for roll in rolls:
                roll.set()

    async def _keep(
        self, index: int, worker: _Worker, roll: asyncio.Event, turn: asyncio.Lock
    ) -> None:
        """Keep one place occupied."""
        pause = FIRST_PAUSE
        while True:
            ended = asyncio.create_task(worker.process.wait())
            rolled = asyncio.create_task(roll.wait())
            hung = asyncio.create_task(_until_silent(worker.lifeline))
            try:
                await asyncio.wait((ended, rolled, hung), return_when=asyncio.FIRST_COMPLETED)
                if hung.done() and not ended.done():
                    logger.error("Worker %d no longer responds; killing it", worker.number)
                    await self._kill(worker)
            finally:
                for task in (ended, rolled, hung):
                    task.cancel()
            if worker.process.returncode is None:
                async with turn:
                    roll.clear()
                    worker = await self._replace(index, worker)
                continue
            self._forget(worker)
            pause = FIRST_PAUSE if _age(worker) >= SETTLED else min(pause, MAX_PAUSE)
            logger.error(
                "Worker %d %s; starting another in %g s",
                worker.number, _how(worker.process.returncode), pause,
            )  # fmt: skip
            while True:
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE)
                try:
                    worker = await self._start(index)
                    break
                except WorkersFailed as error:
                    logger.error("%s; trying again in %g s", error, pause)

    async def _replace(self, index: int, worker: _Worker) -> _Worker:
        """Start the replacement of a worker and stop the worker once the other serves."""
        try:
            replacement = await self._start(index)
        except WorkersFailed as error:
            logger.error("%s; worker %d keeps running", error, worker.number)
            return worker
        await self._end(worker)
        logger.info("Worker %d has taken over from worker %d", replacement.number, worker.number)
        return replacement

    async def _start(self, index: int) -> _Worker:
        """Start a worker and wait until it serves.

        Raises:
            WorkersFailed: It ended, or did not serve in time.

        """
        taken = {worker.number for worker in self._workers} | self._starting
        number = next(n for n in range(1, 2 * len(self._listeners) + 2) if n not in taken)
        self._starting.add(number)
        listener = self._listeners[index]
        near, far = socket.socketpair()
        worker = None
        try:
            near.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                *self._command, str(far.fileno()),
                stdin=asyncio.subprocess.DEVNULL, env=dict(self._environment),
                pass_fds=(far.fileno(), listener.fileno()),
                # Ctrl-C in a terminal must reach the supervisor only.
                start_new_session=True,
            )  # fmt: skip
            worker = _Worker(number, process, near)
            self._workers.add(worker)
        except OSError as error:
            raise WorkersFailed(f"Worker {number} cannot be started: {error.strerror}") from error
        finally:
            self._starting.discard(number)
            far.close()
            if worker is None:
                near.close()
        await self._instruct(worker, listener)
        return worker

    async def _instruct(self, worker: _Worker, listener: socket.socket) -> None:
        """Send a worker its job, and wait until it serves.

        Raises:
            WorkersFailed: It ended, or did not serve in time.

        """
        text = job(worker.number, listener, self._options)
        dialogue = asyncio.create_task(_dialogue(worker.lifeline, text))
        try:
            # Unlike `wait_for`, this never swallows a cancellation (Python 3.10 and 3.11).
            await asyncio.wait((dialogue,), timeout=START_TIMEOUT)
        finally:
            dialogue.cancel()
        if not dialogue.done():
            await self._kill(worker)
            raise WorkersFailed(f"Worker {worker.number} did not serve in {START_TIMEOUT:g} s")
        if not dialogue.result():
            await asyncio.wait((asyncio.create_task(worker.process.wait()),), timeout=1.0)
            await self._end(worker)
            how = _how(worker.process.returncode)
            raise WorkersFailed(f"Worker {worker.number} {how} before it served")

    async def _end(self, worker: _Worker) -> None:
        """Stop a worker: SIGTERM, its grace period, SIGKILL."""
        if worker.process.returncode is None:
            with suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGTERM)
            ended = asyncio.create_task(worker.process.wait())
            await asyncio.wait((ended,), timeout=self._grace_period + 1)
            if not ended.done():
                logger.error("Worker %d did not stop in time; killing it", worker.number)
                await self._kill(worker)
        self._forget(worker)

    async def _kill(self, worker: _Worker) -> None:
        with suppress(ProcessLookupError):
            worker.process.kill()
        await worker.process.wait()
        self._forget(worker)

    def _forget(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.lifeline.close()


async def _dialogue(lifeline: socket.socket, text: bytes) -> bool:
    """Send a job; return whether the worker serves, or False if it hung up."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        await loop.sock_sendall(lifeline, text)
        return await loop.sock_recv(lifeline, len(READY)) == READY
    return False


async def _until_silent(lifeline: socket.socket) -> None:
    """Return once a worker has sent nothing for a number of checks.

    Checks are counted instead of seconds, because there are none while the machine is suspended.
    """
    silent = 0
    while silent < MOST_LOOKS:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            silent = 0 if lifeline.recv(4096) else silent + 1
        except BlockingIOError:
            silent += 1


async def _beat(on_alive: Callable[[], None]) -> None:
    while True:
        on_alive()
        await asyncio.sleep(1.0)


def _age(worker: _Worker) -> float:
    return time.monotonic() - worker.started


def _how(code: int | None) -> str:
    """Describe how a process ended."""
    if code is not None and code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with status {code}"
