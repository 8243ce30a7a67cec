"""Back up the database of a site, and restore it, while the site is stopped."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from bench.postgres import Cluster


def sqlite_backup(database: dict[str, Any]) -> Callable[[], None]:
    """Back up a file; return what restores it."""
    path = Path(database["NAME"])
    copy = path.with_name("backup.sqlite3")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)

    def restore() -> None:
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).unlink()
        shutil.copy(copy, path)

    return restore


def postgresql_backup(cluster: Cluster) -> Callable[[], None]:
    """Back up the database of a cluster; return what restores it."""
    there = ("-h", cluster.socket_folder, "-U", "hookbox")
    dump = f"{cluster.socket_folder}/dump"
    cluster.run("pg_dump", *there, "-Fc", "-f", dump, "postgres")
    return lambda: cluster.run(
        "pg_restore", *there, "--clean", "--if-exists", "-d", "postgres", dump
    )
