"""The genuine Hookbox 0.3.3 and its browser client, if `make genuine` has installed them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..browser.conftest import browser as browser
from ..integration.conftest import make_pair as make_pair
from ..integration.conftest import migrated as migrated
from ..integration.conftest import pytest_runtest_makereport as pytest_runtest_makereport
from . import genuine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.process)
            item.add_marker(pytest.mark.slow)


def pytest_runtest_setup() -> None:
    """Leave all of this out where the genuine Hookbox is not installed.

    Here and not in a fixture, so that pytest says it once and not for each test.
    """
    if not genuine.COMPLETE.exists():
        if os.environ.get("CI"):
            pytest.fail(
                "CI is set, but Hookbox 0.3.3 is not installed: make genuine", pytrace=False
            )
        pytest.skip("Hookbox 0.3.3 is not installed: make genuine (needs Python 2.7)")
