"""The genuine Hookbox 0.3.3 and its browser client, if `make genuine` has installed them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..browser.conftest import browser as browser
from ..integration.conftest import make_pair as make_pair
from ..integration.conftest import migrated as migrated
from ..integration.conftest import pytest_runtest_makereport as pytest_runtest_makereport
from ..integration.processes import Pair, Site
from ..needs import need
from . import genuine
from .clients import GenuineClient, genuine_client

Enter = Callable[..., GenuineClient]


def pytest_runtest_setup() -> None:
    """Leave all of this out where the genuine Hookbox is not installed.

    Here and not in a fixture, so that pytest says it once and not for each test.
    """
    need(
        genuine.COMPLETE.exists(), "Hookbox 0.3.3 is not installed: make genuine (needs Python 2.7)"
    )


# ---- the genuine server --------------------------------------------------------


@pytest.fixture(scope="session")
def genuine_pair(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A site and the genuine server."""
    folder = tmp_path_factory.mktemp("genuine")
    database = Path(shutil.copy(migrated, folder / "db.sqlite3"))
    settings = {
        "HOOKBOX_EXECUTABLE": str(genuine.HOOKBOX),
        "SESSION_COOKIE_HTTPONLY": False,
        "ROOT_URLCONF": "tests.interop.urls",
    }
    pair = Pair(folder, database, settings)
    try:
        pair.site.run()
        pair.hookbox.run()
        yield pair
    finally:
        pair.stop()
    assert "Traceback" not in pair.site.log()


@pytest.fixture
def site(genuine_pair: Pair) -> Site:
    return genuine_pair.site


@pytest.fixture
def word(request: pytest.FixtureRequest) -> str:
    """A word that is in no other test's names."""
    return re.sub(r"\W", "", request.node.name.removeprefix("test_"))[-40:]


@pytest.fixture
def enter(genuine_pair: Pair) -> Iterator[Enter]:
    """Open pages: a user's, or an anonymous visitor's."""
    with ExitStack() as stack:

        def enter(name: str = "") -> GenuineClient:
            page = stack.enter_context(genuine_client(genuine_pair.hookbox.websocket))
            page.connect(genuine_pair.site.do("sign_in", name) if name else "")
            return page

        yield enter
