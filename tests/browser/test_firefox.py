"""Firefox: the main journeys of the client, the examples with frameworks, and import maps.

It takes one import map, Chromium several. One start of it serves all tests; see `firefox.mjs`.
"""

from __future__ import annotations

import json
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.management.commands.collectstatic import Command
from django.core.management import call_command

from tests.static_storages import storages

from ..needs import need
from ..stand_ins.waiting import PATIENCE
from . import small_site
from .conftest import ROOT, Demo
from .framework_pages import (
    CHANNEL,
    COMPONENTS,
    EXCHANGING,
    Site,
    add_component,
    add_exchanged,
    add_refreshed,
)
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

WORK = ["named", "head and body", "by path", "own map", "classic"]
FAIL = ["map after a module", "two maps"]

#: Runs a script with its plan, and returns what it told.
Run = Callable[[str, Any], list[Any]]


@pytest.fixture(scope="module")
def firefox() -> Iterator[Run]:
    """Start Firefox."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    node = shutil.which("node")
    need(program, "there is no Firefox (apt install firefox-esr)")
    need(node, "there is no Node")
    need((ROOT / "node_modules/puppeteer-core").is_dir(), "there is no puppeteer-core (npm ci)")
    assert node
    assert program
    driver = subprocess.Popen(
        [node, str(Path(__file__).with_name("firefox.mjs")), program],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert driver.stdin
    assert driver.stdout
    to, back = driver.stdin, driver.stdout

    def run(script: str, plan: Any) -> list[Any]:
        to.write(json.dumps([script, plan]) + "\n")
        to.flush()
        assert select.select([back], [], [], 300)[0], f"{script} does not end"
        answer = back.readline()
        assert answer, f"Firefox has ended with {driver.wait(PATIENCE)}"
        told, failure = json.loads(answer)
        assert failure is None, (told, failure)
        assert isinstance(told, list)
        return told

    try:
        yield run
    finally:
        to.close()
        try:
            driver.wait(PATIENCE)
        finally:
            driver.kill()
            driver.wait()
            back.close()


def test_the_main_journeys(demo: Demo, firefox: Run) -> None:
    with gates(demo.hookbox_port) as addresses:
        plan = {"site": demo.site, "timeout": 60_000, "gates": addresses}
        assert firefox("firefox_journeys.mjs", plan) == JOURNEYS


def test_the_examples_with_frameworks(demo: Demo, firefox: Run) -> None:
    site = Site(demo)
    try:
        for name in EXCHANGING:
            add_exchanged(site, name)
        components = {
            add_component(site, name): {"parts": parts, "remove": remove}
            for name, (_, parts, remove) in COMPONENTS.items()
        }
        exchanged = [f"{site.address}/{name}/" for name in EXCHANGING]
        refreshed = add_refreshed(site, "tasks_list.html", "/tasks/", "<li>Fetched</li>")
        plan = {
            "site": demo.site, "timeout": 60_000, "channel": CHANNEL, "components": components,
            "exchanged": exchanged, "refreshed": refreshed,
        }  # fmt: skip
        told = firefox("firefox_frameworks.mjs", plan)
        assert told == [*components, *exchanged, refreshed]
    finally:
        site.close()


@pytest.fixture
def pages(settings: Any, tmp_path: Path) -> Iterator[str]:
    """A site of pages with import maps of their own."""
    settings.ROOT_URLCONF = "tests.browser.small_site"
    settings.MIDDLEWARE = []
    for name, value in storages("only hashed", tmp_path).items():
        setattr(settings, name, value)
    call_command(Command(), verbosity=0, interactive=False)
    with small_site.serving() as address:
        yield address


def test_import_maps(pages: str, firefox: Run) -> None:
    names = WORK + FAIL
    said = firefox("firefox_pages.mjs", [f"{pages}/pages/{name}/" for name in names])
    told = dict(zip(names, said, strict=True))
    for name in WORK:
        assert told[name]["title"] == "waiting", (name, told[name])
        assert not [text for text in told[name]["said"] if "djhookbox" in text]
    for name in FAIL:
        assert told[name]["title"] == "Waiting", (name, told[name])
        (advice,) = [text for text in told[name]["said"] if "djhookbox:" in text]
        assert "{% hookbox_imports %}" in advice
        assert "/assets/djhookbox/hookbox.min." in advice
