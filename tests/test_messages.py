"""The translations are complete, compiled and shown."""

from __future__ import annotations

import re
import shutil

import pytest
from django.test import Client
from django.utils import translation

from . import messages
from .admin.catalogue import pages, populate
from .needs import need


@pytest.mark.once
def test_they_are_extracted_complete_and_compiled() -> None:
    need(shutil.which("xgettext"), "gettext is not installed")
    assert messages.check() == []


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", "Kanalregeln"),
        pytest.param("ar", "سياسات القنوات", marks=pytest.mark.once),
    ],
)
def test_pages_speak_the_language(
    admin_client: Client, settings, monkeypatch, tmp_path, language: str, words: str
) -> None:
    settings.HOOKBOX_RUN_DIR = tmp_path / "run"
    settings.HOOKBOX_TIMEOUT = 0.1
    settings.LANGUAGE_CODE = language
    settings.LOCALE_PATHS = [messages.SAMPLE.parent.parent.parent]
    monkeypatch.setattr("django.utils.translation.trans_real._translations", {})
    try:
        for name, page in pages(populate()).items():
            html = admin_client.get(page, follow=True).content.decode()
            assert f'<html lang="{language}"' in html, name
            assert words in html, name
            text = re.sub(r"<[^>]*>|<script.*?</script>", " ", html, flags=re.DOTALL)
            assert "%(" not in text, name
    finally:
        translation.trans_real._translations.pop(language, None)


@pytest.mark.once
def test_no_text_is_put_together_before_it_is_translated() -> None:
    """`_(f"…")` looks for a text that no catalogue has."""
    wrong = re.compile(r'\b(?:_|gettext|gettext_lazy|ngettext)\(\s*f["\']|_\([^()]*" %')
    for path in sorted(messages.PACKAGE.rglob("*.py")):
        assert not wrong.search(path.read_text()), path
