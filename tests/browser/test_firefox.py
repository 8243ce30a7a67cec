"""The main journeys of the client in Firefox; see `firefox.mjs`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ..needs import need
from .conftest import ROOT, Demo
from .gate import gates
from .test_situations import SITUATIONS

pytestmark = [pytest.mark.browser, pytest.mark.slow]

JOURNEYS = [
    "connected and subscribed",
    "published both ways",
    "came back without loss",
    "was quiet while it was about to be left, and recovered",
    "went around by streaming and polling",
    "shared a connection among tabs",
    "handed on the lead when the tab was left",
    *SITUATIONS,
]


def test_the_main_journeys(demo: Demo):
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    node = shutil.which("node")
    need(firefox, "there is no Firefox (apt install firefox-esr)")
    need(node, "there is no Node")
    need((ROOT / "node_modules/puppeteer-core").is_dir(), "there is no puppeteer-core (npm ci)")
    assert node
    assert firefox
    script = Path(__file__).with_name("firefox.mjs")
    with gates(demo.hookbox_port) as addresses:
        result = subprocess.run(
            [node, str(script), firefox, demo.site, "60", json.dumps(addresses)],
            cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]
    assert result.stdout.splitlines() == JOURNEYS
