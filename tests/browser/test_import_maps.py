"""Pages with import maps of their own, in Firefox, which takes one; Chromium takes several."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.staticfiles.management.commands.collectstatic import Command
from django.core.management import call_command

from tests.static_storages import storages

from ..needs import need
from .conftest import ROOT
from .small_site import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WORK = ["named", "head and body", "by path", "own map", "classic"]
FAIL = ["map after a module", "two maps"]


@pytest.fixture
def site(settings, tmp_path) -> Iterator[str]:
    settings.ROOT_URLCONF = "tests.browser.small_site"
    settings.MIDDLEWARE = []
    for name, value in storages("only hashed", tmp_path).items():
        setattr(settings, name, value)
    call_command(Command(), verbosity=0, interactive=False)
    with serving() as address:
        yield address


def test_in_firefox(site):
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    node = shutil.which("node")
    need(firefox, "there is no Firefox (apt install firefox-esr)")
    need(node, "there is no Node")
    need((ROOT / "node_modules/puppeteer-core").is_dir(), "there is no puppeteer-core (npm ci)")
    assert node
    assert firefox
    script = Path(__file__).with_name("firefox_pages.mjs")
    pages = [f"{site}/pages/{name}/" for name in WORK + FAIL]
    result = subprocess.run(
        [node, str(script), firefox, *pages],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]
    told = dict(zip(WORK + FAIL, map(json.loads, result.stdout.splitlines()), strict=True))
    for name in WORK:
        assert told[name]["title"] == "waiting", (name, told[name])
        assert not [text for text in told[name]["said"] if "djhookbox" in text]
    for name in FAIL:
        assert told[name]["title"] == "Waiting", (name, told[name])
        (advice,) = [text for text in told[name]["said"] if "djhookbox:" in text]
        assert "{% hookbox_imports %}" in advice
        assert "/assets/djhookbox/hookbox.min." in advice
