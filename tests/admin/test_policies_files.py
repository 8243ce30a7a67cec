"""Export and import of policies in the admin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection
from django.test import Client

from djhookbox.decisions import files
from djhookbox.models import ChannelPolicy

from .stand_in import APP, Hookbox, messages_of, person, signed_in

LIST = f"{APP}channelpolicy/"
IMPORT = f"{LIST}import/"


def entries(*fields: dict[str, Any]) -> str:
    return json.dumps([{"model": "djhookbox.channelpolicy", "fields": one} for one in fields])


def test_who_may(root: Client, viewer: Client, staff: Client, stranger: Client, rows: Any) -> None:
    assert f'href="{LIST}export/"' in viewer.get(LIST).content.decode()
    assert f'href="{IMPORT}"' in root.get(LIST).content.decode()
    assert IMPORT not in viewer.get(LIST).content.decode()
    assert viewer.get(f"{LIST}export/").status_code == 200
    half = signed_in(person("half", "view_channelpolicy", "add_channelpolicy"))
    for client in (viewer, staff, half):
        assert client.get(IMPORT).status_code == 403
        assert client.post(IMPORT, {"text": "[]"}).status_code == 403
    assert staff.get(f"{LIST}export/").status_code == 403
    assert stranger.get(f"{LIST}export/").status_code == 302
    assert stranger.get(IMPORT).status_code == 302


def test_a_file_of_all_or_some(viewer: Client, rows: Any) -> None:
    response = viewer.get(f"{LIST}export/")
    assert response["Content-Type"] == "application/json"
    assert response["Content-Disposition"].startswith('attachment; filename="channel-policies-')
    names = [one["fields"]["name"] for one in response.json()]
    assert names == ["News", "Front"]
    data = {"action": "export_selected", "_selected_action": [rows["channelpolicy"].pk]}
    some = viewer.post(LIST, data).json()
    assert [one["fields"]["pattern"] for one in some] == ["/news/<slug:topic>/"]


def test_an_import_shows_what_it_would_do_and_does_it(
    root: Client, rows: Any, hookbox: Hookbox, django_assert_num_queries: Any
) -> None:
    Group.objects.create(name="<i>Süd")
    text = entries(
        {"name": "News", "note": "<b>now</b>", "groups": [["<i>Süd"]], "history_size": 7},
        {"name": "Fresh", "pattern": "/fresh/<path:p>", "order": 5, "state": {"a": 1}},
        {"name": "Front", "pattern": "/front/"},
    )
    upload = SimpleUploadedFile("p.json", b"\xef\xbb\xbf" + text.encode())
    with django_assert_num_queries(8):  # three of them look whether a name is taken
        page = root.post(IMPORT, {"file": upload, "text": ""})
    html = page.content.decode()
    assert "1 policy will be created" in html
    assert "1 policy will be changed" in html
    assert "1 policy is unchanged." in html
    assert "Import 2 policies" in html
    assert "&lt;b&gt;now&lt;/b&gt;" in html
    assert ChannelPolicy.objects.count() == 2
    data = {"text": page.context["text"], "seen": page.context["digest"]}
    response = root.post(IMPORT, data, follow=True)
    assert "Imported: 1 created, 1 changed." in messages_of(response)
    news = ChannelPolicy.objects.get(name="News")
    assert (news.note, news.history_size) == ("<b>now</b>", 7)
    assert [group.name for group in news.groups.all()] == ["<i>Süd"]
    assert ChannelPolicy.objects.get(name="Fresh").state == {"a": 1}
    said = {entry.object_repr: entry.get_change_message() for entry in LogEntry.objects.all()}
    assert said["Fresh"] == "Added."
    assert said["News"].startswith("Changed ")
    assert all(label in said["News"] for label in ("History size", "Note", "Groups"))
    again = root.post(IMPORT, data, follow=True).content.decode()
    assert "3 policies are unchanged." in again
    assert "Import 2" not in again


def test_what_has_changed_meanwhile_is_shown_anew(root: Client, rows: Any) -> None:
    text = entries({"name": "News", "note": "mine"})
    page = root.post(IMPORT, {"text": text})
    ChannelPolicy.objects.filter(name="News").update(note="theirs")
    data = {"text": text, "seen": page.context["digest"]}
    page = root.post(IMPORT, data)
    assert "have changed in the meantime" in messages_of(page)[0]
    assert "theirs" in page.content.decode()
    assert ChannelPolicy.objects.get(name="News").note == "theirs"


def test_somebody_was_faster(root: Client, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = entries({"name": "Fresh", "pattern": "/fresh/"})
    digest = root.post(IMPORT, {"text": text}).context["digest"]

    def late(changes: object) -> None:
        raise IntegrityError

    monkeypatch.setattr(files, "apply", late)
    response = root.post(IMPORT, {"text": text, "seen": digest}, follow=True)
    assert "Nothing was imported." in messages_of(response)[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "Choose a file or paste its text."),
        ({"text": "  "}, "Choose a file or paste its text."),
        ({"text": "{"}, "This is not JSON"),
        ({"text": "é" * 600_000}, "larger than a megabyte"),
        ({"file": b"\xff\xfe"}, "not UTF-8 text"),
        ({"file": b" " * 1_000_001}, "larger than a megabyte"),
        ({"text": entries({"name": "\ud83d", "pattern": "/a/"})}, "lone surrogates"),
        ({"text": entries({"name": "A", "pattern": "/a/", "state": {"\ud83d": 1}})}, "surrogates"),
        ({"text": entries({"name": "<b>", "pattern": "/<"})}, "Policy 1 “&lt;b&gt;”: pattern: "),
    ],
)
def test_mistakes(root: Client, rows: Any, data: dict[str, Any], words: str) -> None:
    if isinstance(data.get("file"), bytes):
        data = {"file": SimpleUploadedFile("p.json", data["file"])}
    page = root.post(IMPORT, data)
    assert page.status_code == 200
    html = page.content.decode()
    assert words in html
    assert "Nothing was imported." in html
    assert ChannelPolicy.objects.count() == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite stores them")
def test_halves_of_characters_are_exported_as_escapes(root: Client, db: None) -> None:
    state = {"half": "\ud83d"}
    ChannelPolicy.objects.create(name="A", pattern="/a/", state=state)
    (written,) = json.loads(files.export(ChannelPolicy.objects.all()).encode())
    assert written["fields"]["state"] == state


def test_the_csrf_token_is_needed(rows: Any) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(person("careful", "add_channelpolicy", "change_channelpolicy"))
    assert careful.get(IMPORT).status_code == 200
    assert careful.post(IMPORT, {"text": "[]"}).status_code == 403


def test_names_that_the_database_takes_for_each_other(root: Client, db: None) -> None:
    text = entries(*({"name": name, "pattern": "/x/"} for name in ("Sport", "sport")))
    page = root.post(IMPORT, {"text": text})
    response = root.post(IMPORT, {"text": text, "seen": page.context["digest"]}, follow=True)
    said = messages_of(response)
    if connection.vendor == "mysql":
        assert len(said) == 1
        assert "“sport”" in said[0]
        assert "already exists" in said[0]
        assert not ChannelPolicy.objects.exists()
    else:
        assert ChannelPolicy.objects.count() == 2
