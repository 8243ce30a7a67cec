"""A short run of `make durable`."""

from __future__ import annotations

from pathlib import Path

from bench.postgres import Cluster

from .durable_proof import prove, sqlite_settings


def test_nothing_is_lost_or_doubled_on_sqlite(tmp_path: Path) -> None:
    summary = prove(tmp_path, sqlite_settings(tmp_path), seed=7, kills=8, pages=5)
    assert summary.pop("problems") == []
    assert summary["publications"] > 0


def test_nothing_is_lost_or_doubled_on_postgresql(tmp_path: Path) -> None:
    with Cluster() as cluster:
        summary = prove(tmp_path, cluster.settings(), seed=8, kills=8, pages=5)
    assert summary.pop("problems") == []
    assert summary["publications"] > 0
