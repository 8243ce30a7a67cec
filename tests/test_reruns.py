"""Tests that failed and are repeated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .projects import ROOT

pytestmark = pytest.mark.once

MODULE = """
import pytest

starts = []


@pytest.fixture(scope="module")
def site():
    starts.append("site")
    assert len(starts) > 1, "the first start fails"
    yield
    print("the site ends")


@pytest.fixture(scope="module")
def browser():
    yield
    print("the browser ends")


@pytest.fixture
def page(browser):
    yield
    print("the page ends")


def test_page(site, page):
    pass


def test_another_page(site, page):
    pass
"""


def test_a_fixture_that_starts_in_a_rerun_ends(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(MODULE)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    pytest_run = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "tests.reruns"]
    off = [f"-pno:{name}" for name in ("django", "djhookbox", "xdist", "asyncio", "cacheprovider")]
    done = subprocess.run(
        [*pytest_run, *off, "--reruns", "1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed, 1 rerun" in done.stdout
    ends = [line.lstrip("R.") for line in done.stdout.splitlines() if line.endswith("ends")]
    assert ends == ["the page ends", "the page ends", "the browser ends", "the site ends"]
