"""Sites and Hookbox processes for the integration tests."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from ..stand_ins.client import Client, client
from ..stand_ins.process import FakeHookbox, scripted
from ..stand_ins.waiting import PATIENCE
from .processes import Hookbox, Pair, Process, Site
from .scripted import ORIGIN, Lonely, yes

_names = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.process)
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes have printed where a test has failed."""
    report = yield
    if report.failed:
        for process in Process.running:
            report.sections.append((str(process.log_path), process.log()[-3000:]))
    return report


class MakePair(Protocol):
    """Makes a site and its Hookbox process, neither of them started yet."""

    def __call__(self, **settings: Any) -> Pair: ...


class Enter(Protocol):
    """Opens a page: a user's, or with `name=""` an anonymous visitor's."""

    def __call__(self, name: str = "", **connect: Any) -> Client: ...


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied."""
    folder = tmp_path_factory.mktemp("database")
    path = folder / "migrated.sqlite3"
    result = Pair(folder, path, {}).manage("migrate", "-v0")
    assert result.returncode == 0, result.stderr
    return path


def _check_logs(pair: Pair) -> None:
    """No test may leave a bug in a log that nobody reads."""
    for process in (pair.hookbox, pair.site):
        for sign in ("Traceback", "Unexpected error:", "never awaited", "never retrieved"):
            assert sign not in process.log(), process.log()[-20_000:]


@contextmanager
def started(
    folder: Path,
    migrated: Path,
    *,
    workers: str = "many",
    headers: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Pair]:
    """Run a site and its Hookbox process."""
    database = Path(shutil.copy(migrated, folder / "db.sqlite3"))
    pair = Pair(folder, database, settings)
    pair.site.headers.update(headers or {})
    try:
        pair.site.run(workers)
        pair.hookbox.run()
        yield pair
    finally:
        pair.stop()
    _check_logs(pair)


@pytest.fixture(scope="session")
def pair(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The site that most tests share; each has users and channels of its own."""
    # By default SQLite waits 5 seconds for a lock, which is too short on a machine with many tests.
    patience = {"timeout": PATIENCE}
    folder = tmp_path_factory.mktemp("pair")
    with started(folder, migrated, DATABASE_OPTIONS=patience) as pair:
        yield pair


@pytest.fixture
def site(pair: Pair) -> Site:
    return pair.site


@pytest.fixture
def hookbox(pair: Pair) -> Hookbox:
    return pair.hookbox


@pytest.fixture
def word() -> str:
    """A word that is in no other test's names."""
    return f"w{next(_names)}"


@pytest.fixture
def enter(pair: Pair) -> Iterator[Enter]:
    """Open pages on the shared site."""
    with ExitStack() as stack:
        yield entering(pair, stack)


def entering(pair: Pair, stack: ExitStack) -> Enter:
    """Return what opens pages on a site, until the stack is closed."""

    def enter(name: str = "", **connect: Any) -> Client:
        session = pair.site.do("sign_in", name) if name else ""
        page = stack.enter_context(
            client(pair.hookbox.websocket, origin=pair.site.pages, session=session)
        )
        page.connect(**connect)
        return page

    return enter


@pytest.fixture
def make_pair(migrated: Path, tmp_path: Path) -> Iterator[MakePair]:
    """Make sites with settings of their own."""
    pairs: list[Pair] = []

    def make(**settings: Any) -> Pair:
        folder = tmp_path / f"pair{len(pairs)}"
        folder.mkdir()
        database = Path(shutil.copy(migrated, folder / "db.sqlite3"))
        pairs.append(Pair(folder, database, settings))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.stop()


@contextmanager
def scripted_site(folder: Path, database: Path, **settings: Any) -> Iterator[Lonely]:
    """Run a Hookbox process whose site is a script."""
    pair = Pair(folder, database, settings)
    with scripted(pair.site.port) as script:
        script.answer = yes
        try:
            pair.hookbox.run()
            yield pair.hookbox, script
        finally:
            pair.hookbox.stop()
    _check_logs(pair)


@pytest.fixture(scope="session")
def lonely_hookbox(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lonely]:
    """A Hookbox process whose site gives the answers that a test sets."""
    folder = tmp_path_factory.mktemp("lonely")
    with scripted_site(
        folder,
        migrated,
        HOOKBOX_WEBHOOK_TIMEOUT=1.5,
        HOOKBOX_MAX_FRAME_SIZE=65_536,
        HOOKBOX_ALLOW_SET_CONFIG=True,
    ) as lonely:
        yield lonely


@pytest.fixture
def script(lonely_hookbox: Lonely) -> Iterator[FakeHookbox]:
    """The web application, which allows everything unless a test sets another answer."""
    script = lonely_hookbox[1]
    script.answer = yes
    script.requests.clear()
    yield script
    script.answer = yes


def opening(hookbox: Hookbox, stack: ExitStack) -> Callable[..., Client]:
    """Return what opens pages, connected by the name given, or not yet connected."""

    def open_page(name: str = "") -> Client:
        page = stack.enter_context(client(hookbox.websocket, origin=ORIGIN))
        if name:
            page.connect(payload=json.dumps(name))
        return page

    return open_page


@pytest.fixture
def page(lonely_hookbox: Lonely, script: FakeHookbox) -> Iterator[Callable[..., Client]]:
    """Open pages of the scripted site."""
    with ExitStack() as stack:
        yield opening(lonely_hookbox[0], stack)
