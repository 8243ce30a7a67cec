from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from djhookbox.server.listening import address_of, listen, listen_shared
from djhookbox.workers import place as places
from djhookbox.workers import supervisor as supervising
from djhookbox.workers.place import job, take
from djhookbox.workers.supervisor import Supervisor, WorkersFailed

from .ports import free_port
from .stand_ins.waiting import PATIENCE, until

WORKER = (sys.executable, "-m", "tests.worker")


class Workers:
    """A supervisor in this process, with stand-ins for the workers."""

    def __init__(self, fault: Path, count: int = 2) -> None:
        self.listeners = listen_shared("127.0.0.1", free_port(), count)
        self.address = self.listeners[0].getsockname()
        self.supervisor = Supervisor(
            self.listeners, WORKER, os.environ, {"fault": str(fault)}, grace_period=5.0
        )
        self.ready = asyncio.Event()

    async def run(self) -> None:
        try:
            await self.supervisor.run(self.ready.set, lambda: None)
        finally:
            for listener in self.listeners:
                listener.close()

    async def ask(self) -> tuple[int, int]:
        """Return the number and process id of the worker that answers."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(b"who\n")
            answer = await reader.readline()
        finally:
            writer.close()
        number, pid = answer.split()
        return int(number), int(pid)

    async def staff(self) -> dict[int, int]:
        """Return number and process id of each worker that answers one of many questions."""
        return dict(await asyncio.gather(*(self.ask() for _ in range(60))))


@asynccontextmanager
async def workers(tmp_path: Path, count: int = 2) -> AsyncIterator[Workers]:
    made = Workers(tmp_path / "fault", count)
    running = asyncio.create_task(made.run())
    ready = asyncio.create_task(made.ready.wait())
    await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    try:
        if running.done():
            running.result()
        yield made
    finally:
        made.supervisor.stop()
        await asyncio.gather(running, return_exceptions=True)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_connections_are_spread_and_all_workers_stop(tmp_path):
    async def main():
        async with workers(tmp_path, 3) as group:
            staff = await group.staff()
            assert sorted(staff) == [1, 2, 3]
        assert not any(is_alive(pid) for pid in staff.values())
        with pytest.raises(ConnectionRefusedError):
            await group.ask()

    asyncio.run(main())


def test_a_worker_that_dies_is_replaced_under_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(supervising, "FIRST_PAUSE", 0.05)

    async def main():
        async with workers(tmp_path) as group:
            before = await group.staff()
            os.kill(before[1], signal.SIGKILL)
            # Those that come in the meantime wait in the listener's queue; none is refused.
            after = await group.staff()
            assert after[2] == before[2]
            assert after[1] != before[1]

    asyncio.run(main())


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(supervising, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(supervising, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(supervising, "MOST_LOOKS", 12)

    async def main():
        async with workers(tmp_path) as group:
            before = await group.staff()
            os.kill(before[1], signal.SIGSTOP)
            # Those that wait in the listener's queue are served by the replacement. Those that the
            # worker had accepted are cut off, as if it had ended.
            await until(lambda: not is_alive(before[1]), "the worker to be killed")
            after = await group.staff()
            assert after[2] == before[2]
            assert after[1] != before[1]
        assert "Worker 1 no longer responds; killing it" in caplog.text

    asyncio.run(main())


def test_a_worker_that_pauses_for_a_moment_stays(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(supervising, "LOOK_SECONDS", 0.1)

    async def main():
        async with workers(tmp_path) as group:
            before = await group.staff()
            os.kill(before[1], signal.SIGSTOP)
            await asyncio.sleep(0.3)
            os.kill(before[1], signal.SIGCONT)
            assert await group.staff() == before
        assert "does not respond" not in caplog.text

    asyncio.run(main())


def test_nobody_is_refused_or_reset_while_workers_are_replaced(tmp_path):
    async def main():
        async with workers(tmp_path) as group:
            before = await group.staff()
            answers: list[tuple[int, int]] = []
            done = asyncio.Event()

            async def visit() -> None:
                while not done.is_set():
                    answers.append(await group.ask())

            visitors = [asyncio.create_task(visit()) for _ in range(20)]
            group.supervisor.roll_over()
            old = set(before.values())
            await until(
                lambda: not any(is_alive(pid) for pid in old) or any(v.done() for v in visitors),
                "the old workers to end",
                30.0,
            )
            await asyncio.sleep(0.3)
            done.set()
            await asyncio.gather(*visitors)  # raises what a visitor met
            after = await group.staff()
            assert not old & set(after.values())
            assert len(after) == 2
            assert {pid for _number, pid in answers} > old

    asyncio.run(main())


def test_workers_go_on_if_their_replacement_does_not_start(tmp_path, caplog):
    async def main():
        async with workers(tmp_path) as group:
            before = await group.staff()
            (tmp_path / "fault").write_text("exit")
            group.supervisor.roll_over()
            await until(lambda: caplog.text.count("keeps running") == 2, "both to fail", 30.0)
            assert await group.staff() == before
            (tmp_path / "fault").unlink()
            assert "ended with status 3 before it served" in caplog.text
            group.supervisor.roll_over()
            await until(lambda: not is_alive(before[1]), "the roll-over", 30.0)

    asyncio.run(main())


def test_a_worker_that_keeps_failing_is_started_less_and_less_often(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(supervising, "FIRST_PAUSE", 0.05)

    async def main():
        async with workers(tmp_path) as group:
            before = await group.staff()
            (tmp_path / "fault").write_text("exit")
            os.kill(before[2], signal.SIGKILL)
            await until(lambda: "trying again in 0.2 s" in caplog.text, "the second failure", 30.0)
            assert "Worker 2 was ended by SIGKILL; starting another in 0.05 s" in caplog.text
            (tmp_path / "fault").unlink()
            after = await group.staff()
            assert after[1] == before[1]
            assert after[2] != before[2]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("exit", r"Worker [12] ended with status 3 before it served"),
        ("hang", r"Worker [12] did not serve in 1 s"),
    ],
)
def test_a_first_worker_that_fails_ends_all(tmp_path, monkeypatch, fault, problem):
    monkeypatch.setattr(supervising, "START_TIMEOUT", 1 if fault == "hang" else PATIENCE)
    (tmp_path / "fault").write_text(fault)

    async def main():
        async with workers(tmp_path):
            pytest.fail("it was ready")

    with pytest.raises(WorkersFailed, match=problem):
        asyncio.run(main())


def test_a_stop_during_the_start_leaves_nothing_behind(tmp_path):
    async def main():
        group = Workers(tmp_path / "fault")
        running = asyncio.create_task(group.run())
        await until(lambda: group.supervisor._workers, "a worker", 30.0)
        pids = [worker.process.pid for worker in group.supervisor._workers]
        group.supervisor.stop()
        await asyncio.wait_for(running, 20)
        assert not group.ready.is_set()
        assert not any(is_alive(pid) for pid in pids)

    asyncio.run(main())


def test_workers_end_with_a_supervisor_that_was_killed(tmp_path):
    async def main():
        async with workers(tmp_path) as group:
            worker = next(iter(group.supervisor._workers))
            worker.lifeline.close()  # what the kernel does for a process that ends
            code = await asyncio.wait_for(worker.process.wait(), 20)
            assert code == 0

    asyncio.run(main())


# ---- places and sockets ----------------------------------------------------------------------


def test_a_place_reaches_the_worker():
    ours, theirs = socket.socketpair()
    with listen("127.0.0.1", 0) as listener, ours:
        options = {"port": 8001, "allow_origin": ["https://example.com"], "debug": False}
        inherited = listener.dup()
        ours.sendall(job(3, inherited, options))
        inherited.detach()
        place = take(theirs.detach())
        with place.lifeline, place.listener:
            assert place.number == 3
            assert place.supervisor == os.getpid()
            assert place.options == options
            assert place.listener.getsockname() == listener.getsockname()
            assert not place.listener.get_inheritable()
            place.ready()
            assert ours.recv(100) == places.READY


@pytest.mark.parametrize("make", [lambda: 9999, lambda: os.open(os.devnull, os.O_RDONLY)])
def test_only_a_supervisor_starts_workers(make: Callable[[], int]):
    with pytest.raises(ValueError, match="only the Hookbox process itself starts workers"):
        take(make())


def test_an_address_is_shared_only_within_one_process():
    listeners = listen_shared("127.0.0.1", 0, 3)
    try:
        ports = {listener.getsockname()[1] for listener in listeners}
        assert len(ports) == 1
        port = ports.pop()
        with pytest.raises(OSError, match="is in use"):
            listen_shared("127.0.0.1", port, 2)
        with pytest.raises(OSError, match="is in use"):
            listen("127.0.0.1", port)
    finally:
        for listener in listeners:
            listener.close()
    with listen("127.0.0.1", port), pytest.raises(OSError, match="is in use"):
        listen_shared("127.0.0.1", port, 2)


def test_workers_have_addresses_of_their_own():
    assert address_of(8001, 0).endswith(":8001")
    assert address_of(8001, 2) == f"{address_of(8001, 0)}/2"
