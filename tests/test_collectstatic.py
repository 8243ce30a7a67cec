"""Our static files work with the storages that sites use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles.management.commands.collectstatic import Command
from django.core.management import call_command
from django.test.utils import override_settings

from tests.static_storages import STORAGES, storages


@pytest.mark.parametrize("name", STORAGES)
def test_collects(name, tmp_path):
    with override_settings(**storages(name, tmp_path)):
        call_command(Command(), verbosity=0, interactive=False)
    found = {path.name for path in (tmp_path / "djhookbox").iterdir()}
    assert any(re.fullmatch(r"hookbox\.min(\.[0-9a-f]{12})?\.js", each) for each in found)
    assert ("hookbox.min.js" in found) is (name != "only hashed")


def test_an_imported_name_is_replaced_where_the_site_wants_it(tmp_path):
    with override_settings(**storages("aggregated", tmp_path)):
        call_command(Command(), verbosity=0, interactive=False)
    (script,) = (tmp_path / "djhookbox").glob("hookbox.min.*.js")
    assert re.search(r'import\("[^"]*csp_transport\.min\.[0-9a-f]{12}\.js"\)', script.read_text())
    (source,) = Path(tmp_path / "djhookbox").glob("legacy.[0-9a-f]*.js")
    assert re.search(r'from "[^"]*hookbox\.[0-9a-f]{12}\.js"', source.read_text())
