"""Our pages under settings that real sites have: each settings module in a process of its own.

Another admin site at another place, django-unfold, a site that has grown (no time zones, accounts
of its own, Swiss formats), and one that keeps the logs in a database of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ..needs import need
from .catalogue import PAGES

ROOT = Path(__file__).resolve().parent.parent.parent


#: Only that of django-unfold replaces templates of Django, and so must be tried with each Django.
SITES = [
    "tests.unfold_settings",
    *(
        pytest.param(name, marks=pytest.mark.once)
        for name in (
            "tests.other_sites_settings", "tests.grown_site_settings",
            "tests.two_databases_settings",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", SITES)
def test_every_page_and_every_link_works(name: str, tmp_path: Path) -> None:
    need("unfold" not in name or find_spec("unfold"), "django-unfold is not installed")
    # The warnings of unfold are its own business.
    strict = [] if "unfold" in name else ["-W", "error"]
    ours = {"DJANGO_SETTINGS_MODULE": name, "HOOKBOX_TEST_DB": str(tmp_path / "test.sqlite3")}
    rest = {key: value for key, value in os.environ.items() if key != "HOOKBOX_TEST_DATABASE"}
    result = subprocess.run(
        [sys.executable, *strict, "-m", "tests.admin.walk"],
        cwd=ROOT, env={**rest, **ours}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    count = re.search(r"(\d+) pages, (\d+) links, 0 problems", result.stdout)
    assert count, result.stdout
    assert int(count[1]) == 2 * len(PAGES)
    assert int(count[2]) > 100
