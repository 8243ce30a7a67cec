"""The benchmark of the log pages runs, at a small scale; its results are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from bench import admin_busy
from bench.admin_pages import PAGES
from bench.admin_scale import EXPORTED, FORMATS, report

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.once
def test_each_page_is_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = ["-m", "bench.admin_scale", "sqlite", "process", "--rows", "30", "--runs", "1"]
    result = subprocess.run(
        [sys.executable, *command, "--json", str(figures)],
        cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert result.returncode in (0, 1), result.stderr  # a busy machine may be over the bound
    measured = json.loads(figures.read_text())
    assert [(one["log"], one["page"]) for one in measured if "few" in one] == [
        (log, page) for log, pages in PAGES.items() for page in pages
    ]
    files = {(one["log"], one["page"].split(" of ")[0]) for one in measured if "goal" in one}
    assert {*product(EXPORTED, FORMATS)} <= files
    busy = [one for one in measured if not one["database"]]
    assert tuple(one["page"] for one in busy) == admin_busy.LABELS
    assert all(one["value"] > 0 for one in busy)


def test_a_page_over_the_bound_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    figure = {"database": "sqlite", "log": "publication", "page": "list", "few": 0.01}
    assert report([{**figure, "many": 0.0299}])
    assert "OVER" not in capsys.readouterr().out
    assert not report([{**figure, "many": 0.0299}, {**figure, "many": 0.0301}])
    assert "OVER" in capsys.readouterr().out
    good = admin_busy.figure("server", "CPU of the site", 0.04, 0.05)
    assert report([good])
    assert not report([good, {**good, "value": 0.06}])
    assert "OVER" in capsys.readouterr().out
