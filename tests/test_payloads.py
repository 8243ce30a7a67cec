from __future__ import annotations

import copy
import datetime
import json
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.audit import payloads
from djhookbox.models import Publication

TEXTS = st.text(st.characters())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(JSON)
def test_stored_payloads_have_nothing_that_databases_refuse(payload: object) -> None:
    before = copy.deepcopy(payload)
    fields = payloads.kept(payload)
    assert payload == before, "what the caller gave stays as it is"
    stored = json.dumps(fields["payload"], ensure_ascii=False)
    stored.encode()  # no halves of surrogate pairs
    fields["preview"].encode()
    assert "\\u0000" not in stored.replace("\\\\", "")
    assert len(fields["preview"]) <= 80
    assert fields["kept"] == "whole"


def test_all_is_kept_unless_settings_say_otherwise() -> None:
    payload = {"text": "Grüße", "when": datetime.date(2026, 1, 2)}
    text = '{"text": "Grüße", "when": "2026-01-02"}'
    assert payloads.kept(payload) == {
        "payload": payload, "preview": text, "size": len(text.encode()), "kept": "whole",
    }  # fmt: skip


def test_the_preview_is_cut(settings: Any) -> None:
    settings.HOOKBOX_REDACT = ["pin"]
    fields = payloads.kept({"text": "😀" * 200})
    assert fields["preview"] == '{"text": "' + "😀" * 69 + "…"
    assert payloads.kept(None)["preview"] == "null"


def test_nothing_is_kept(settings: Any) -> None:
    settings.HOOKBOX_STORE_PAYLOADS = False
    fields = payloads.kept({"secret": 1})
    assert fields == {"payload": None, "preview": "", "size": 13, "kept": "nothing"}


def test_fields_are_masked_at_any_depth_and_in_any_case(settings: Any) -> None:
    settings.HOOKBOX_REDACT = ["password", "PIN"]
    payload = {"a": [{"Password": {"x": 1}}, "password", {"b": {"pin": 5, "pins": 6}}], "c": 1}
    before = copy.deepcopy(payload)
    fields = payloads.kept(payload)
    assert fields["payload"] == {
        "a": [{"Password": "***"}, "password", {"b": {"pin": "***", "pins": 6}}], "c": 1,
    }  # fmt: skip
    assert fields["kept"] == "masked"
    assert "***" in fields["preview"]
    assert "5" not in fields["preview"]
    assert payload == before, "what is published is not masked"
    assert payloads.kept({"c": 1})["kept"] == "whole"


@given(JSON)
def test_no_masked_value_is_left(payload: object) -> None:
    wrapped = [payload, {"pin": "1234-secret"}, {"deep": payload, "more": {"pin": "1234-secret"}}]
    masked = json.loads(json.dumps(wrapped))
    assert payloads._mask(masked, {"pin"})
    assert "1234-secret" not in json.dumps(masked)


def test_deeply_nested_payloads_are_masked_too(settings: Any) -> None:
    settings.HOOKBOX_REDACT = ["pin"]
    depth = 400
    payload = json.loads("[" * depth + '{"pin": 1, "a": "\\u0000"}' + "]" * depth)
    fields = payloads.kept(payload)
    assert fields["kept"] == "masked"
    assert payloads.compact(fields["payload"]).strip("[]") == '{"pin": "***", "a": "�"}'


@pytest.mark.django_db
def test_publications_of_before_get_their_preview() -> None:
    migration = import_module("djhookbox.migrations.0003_logs")
    for number in range(250):
        Publication.objects.create(
            channel="/a/", payload=["ü" * number], source="code", status="sent"
        )
    migration.write_previews(apps, SimpleNamespace(connection=connection))
    for row in Publication.objects.all():
        fields = payloads.kept(row.payload)
        assert (row.preview, row.size) == (fields["preview"], fields["size"])


def test_a_copy_is_not_copied_again(settings: Any) -> None:
    settings.HOOKBOX_REDACT = ["pin"]
    for payload in ({"pin": 1, "a": ["\x00", {"PIN": 2}]}, {"a": "\x00"}, {"a": [1]}):
        mine = copy.deepcopy(payload)
        before = copy.deepcopy(payload)
        assert payloads.kept(mine, is_copy=True) == payloads.kept(payload)
        assert payload == before
    plain = {"a": [1]}
    assert payloads.kept(plain, is_copy=True)["payload"] is plain
    assert payloads.kept(plain)["payload"] == plain
