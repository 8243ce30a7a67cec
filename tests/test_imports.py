"""What a process imports when it starts, which each command and each worker of a site pays for."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent

#: What a site needs only if it is configured, or for its first call of the Hookbox process.
LATER = (
    "aiohttp", "certifi", "opentelemetry", "prometheus_client", "redis", "requests", "urllib3",
    "djhookbox.client.calls", "djhookbox.client.http", "djhookbox.publishing", "djhookbox.server",
    "djhookbox.testing", "djhookbox.wire.answers", "djhookbox.wire.rest",
)  # fmt: skip
#: What only a process that answers requests needs.
WITH_URLS = (
    "djhookbox.admin.charts.figures", "djhookbox.measurements.reading", "djhookbox.outbox.pulling",
    "djhookbox.views", "djhookbox.wire.events", "djhookbox.wire.replies", "djhookbox.wire.streams",
    "djhookbox.wire.webhooks",
)  # fmt: skip
#: What the Hookbox process needs only if it is configured, or not at all.
NOT_CONFIGURED = (
    "django", "djhookbox.admin", "djhookbox.client", "djhookbox.server.cluster",
    "djhookbox.server.engine.redis", "opentelemetry", "prometheus_client", "redis", "requests",
    "urllib3",
)  # fmt: skip


def imported(script: str, *subjects: str) -> list[str]:
    """Return which of these modules a script has imported when it ends."""
    assert [name for name in subjects if find_spec(name) is None] == []
    result = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    found = set(result.stdout.split())
    assert "djhookbox" in found
    return sorted(found & set(subjects))


def test_commands_of_a_site_import_neither_calls_nor_webhooks() -> None:
    assert imported("import django; django.setup()", *LATER, *WITH_URLS) == []


def test_urls_of_a_site_import_no_calls() -> None:
    script = "import django; django.setup(); import djhookbox.urls; import tests.urls"
    assert imported(script, *LATER, "djhookbox.views") == ["djhookbox.views"]


def test_a_lone_process_imports_no_engine_and_no_exporter() -> None:
    script = "import djhookbox.server.running"
    wanted = "djhookbox.server.app"
    assert imported(script, *NOT_CONFIGURED, wanted) == [wanted]
