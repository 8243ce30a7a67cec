"""The client on pages with a strict policy, however it is imported and its files are named."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib.staticfiles.management.commands.collectstatic import Command
from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import expect

from tests.static_storages import STORAGES, storages

from .small_site import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module", params=STORAGES)
def storage(request) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def collected(storage, tmp_path_factory) -> dict[str, object]:
    """The settings of a site whose static files were collected."""
    changed = storages(storage, tmp_path_factory.mktemp("static"))
    with override_settings(**changed):
        call_command(Command(), verbosity=0, interactive=False)
    return changed


@pytest.fixture
def site(settings, collected) -> Iterator[str]:
    settings.ROOT_URLCONF = "tests.browser.small_site"
    settings.MIDDLEWARE = []
    for name, value in collected.items():
        setattr(settings, name, value)
    with serving() as address:
        yield address


@pytest.mark.parametrize("page", ["named", "by path", "own map", "classic"])
def test_one_script_until_it_connects_and_the_rest_when_it_is_needed(browser, site, storage, page):
    context = browser.new_context()
    try:
        tab = context.new_page()
        requested, complaints = [], []
        tab.on("request", lambda request: requested.append(request.url))
        tab.on("websocket", lambda socket: requested.append(socket.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(f"{site}/pages/{page}/")
        # Nothing listens at the port, so that all transports have been loaded and tried by then.
        # Asked for by the title: a condition that is not met at once would be an eval in the page.
        expect(tab).to_have_title("waiting", timeout=20_000)
        if page == "own map":
            expect(tab.locator("html")).to_have_attribute("data-mine", "mine")
    finally:
        context.close()
    opened = next(index for index, url in enumerate(requested) if url.startswith("ws:"))
    scripts = [url for url in requested[:opened] if "/assets/" in url]
    (script,) = scripts
    name = "hookbox.classic" if page == "classic" else "hookbox.min"
    later = [url.rpartition("/")[2] for url in requested[opened:] if "/assets/" in url]
    assert len(later) == (0 if page == "classic" else 1), "what it needs then, in one file"
    if storage != "plain":
        assert re.search(rf"/{re.escape(name)}\.[0-9a-f]{{12}}\.js$", script)
        assert all(re.search(r"\.[0-9a-f]{12}\.js$", url) for url in later), later
    assert [text for text in complaints if "ERR_CONNECTION_REFUSED" not in text] == []


def test_the_module_of_a_tag_uses_the_client_of_the_page(browser, site, storage):
    context = browser.new_context()
    try:
        tab = context.new_page()
        scripts, complaints = [], []
        tab.on("response", lambda response: scripts.append((response.url, response.status)))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(f"{site}/pages/refreshed/")
        expect(tab.locator("hookbox-refresh:defined")).to_have_count(1)
        expect(tab).to_have_title("waiting", timeout=20_000)
    finally:
        context.close()
    assert [text for text in complaints if "ERR_CONNECTION_REFUSED" not in text] == []
    clients = {url for url, _ in scripts if "/hookbox.min." in url}
    assert len(clients) == 1
    assert all(status == 200 for url, status in scripts if "/assets/" in url)
