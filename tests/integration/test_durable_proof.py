"""A short run of `make durable`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.postgres import Cluster

from .backups import postgresql_backup, sqlite_backup
from .durable_proof import prove, sqlite_settings


def test_nothing_is_lost_or_doubled_on_sqlite(tmp_path: Path) -> None:
    database = sqlite_settings(tmp_path)
    backup = partial(sqlite_backup, database)
    summary = prove(tmp_path, database, backup, seed=7, kills=8, pages=5)
    assert summary.pop("problems") == []
    assert summary["publications"] > 0


def test_nothing_is_lost_or_doubled_on_postgresql(tmp_path: Path) -> None:
    with Cluster() as cluster:
        backup = partial(postgresql_backup, cluster)
        summary = prove(tmp_path, cluster.settings(), backup, seed=8, kills=8, pages=5)
    assert summary.pop("problems") == []
    assert summary["publications"] > 0
