"""The examples of docs/howto/testing.rst run as a site's own tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .projects import Project, pytest_plugin
from .test_documentation import PYTHON

URLS = """
from django.urls import include, path
urlpatterns = [path("hookbox/", include("djhookbox.urls"))]
"""

BLOCKS = [block for block in PYTHON if "djhookbox.testing" in block.text]


@pytest.mark.slow
def test_they_run(tmp_path: Path) -> None:
    assert len(BLOCKS) >= 4
    project = Project(tmp_path)
    project.write_site(["djhookbox", "pages"], urls=URLS)
    project.write("pages/__init__.py", "")
    for number, block in enumerate(BLOCKS):
        project.write(f"pages/test_{number}.py", block.text)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *pytest_plugin(), "-p", "no:cacheprovider", "pages"],
        cwd=tmp_path, env=project.environment(DJANGO_SETTINGS_MODULE="settings"),
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "11 passed" in ran.stdout
    # Those in classes run with Django's own runner as well.
    ran = subprocess.run(
        [sys.executable, "manage.py", "test", "-v0"], cwd=tmp_path,
        env=project.environment(), capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert ran.returncode == 0 or "pytest" in ran.stderr, ran.stderr
