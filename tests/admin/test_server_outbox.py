"""Failed publications of the outbox: seen, tried again, discarded."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import DatabaseError
from django.test import Client

from djhookbox.admin.server import outbox
from djhookbox.outbox import failed
from djhookbox.outbox.models import Outbox

from .stand_in import APP, messages_of, person, signed_in

PAGE = f"{APP}server/outbox/"
TRY_AGAIN, DISCARD = f"{PAGE}try-again/", f"{PAGE}discard/"


def fail(channel: str, **more: Any) -> Outbox:
    fields = {"payload": '"secret words"', "source": "code", "opened_by": "policy:a"}
    row: Outbox = Outbox.objects.create(
        channel=channel, **fields, failed=True, **{"error": "No policy.", **more}
    )
    return row


def left() -> list[tuple[str, bool]]:
    return list(Outbox.objects.order_by("pk").values_list("channel", "failed"))


@pytest.fixture
def rows(db: None) -> list[Outbox]:
    return [fail("/a/"), fail("/b/<b>", error="<i>"), fail("/c/")]


def test_the_list_says_why(root: Client, rows: list[Outbox]) -> None:
    page = root.get(PAGE).content.decode()
    for text in ("/a/", "No policy.", "/b/&lt;b&gt;", "&lt;i&gt;", "All 3", "Discard…"):
        assert text in page
    assert "secret words" not in page


def test_an_empty_list(root: Client, db: None) -> None:
    assert "No publication has failed." in root.get(PAGE).content.decode()
    Outbox.objects.create(channel="/a/", payload="1", source="code", opened_by="policy:a")
    assert "No publication has failed." in root.get(PAGE).content.decode(), "it only waits"


def test_the_chosen_ones_are_tried_again_after_a_question(root: Client, rows: Any) -> None:
    question = root.get(TRY_AGAIN, {"key": [rows[2].pk, rows[0].pk]})
    assert "Try 2 publications again?" in question.content.decode()
    assert "/a/: No policy." in question.content.decode()
    assert left() == [("/a/", True), ("/b/<b>", True), ("/c/", True)], "not yet"
    hidden = question.context["hidden"]
    data = {"key": [value for name, value in hidden if name == "key"]}
    response = root.post(TRY_AGAIN, data, follow=True)
    assert messages_of(response) == ["2 publications were put at the end of the outbox."]
    assert left() == [("/b/<b>", True), ("/a/", False), ("/c/", False)], "in their order"
    entry = LogEntry.objects.get()
    assert entry.change_message == "Tried 2 failed publications again (/a/, /c/)."
    again = root.post(TRY_AGAIN, data, follow=True)
    assert "no longer exist" in messages_of(again)[0]
    assert len(left()) == 3
    assert LogEntry.objects.count() == 1


def test_all_are_discarded_but_those_that_failed_after_the_question(
    root: Client, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 2)
    question = root.get(DISCARD, {"all": "1"})
    assert "Discard 3 publications?" in question.content.decode()
    later = fail("/later/")
    response = root.post(DISCARD, dict(question.context["hidden"]), follow=True)
    assert messages_of(response) == ["3 publications were discarded."]
    assert left() == [("/later/", True)]
    assert Outbox.objects.get().pk == later.pk
    assert "Discarded 3 failed publications" in LogEntry.objects.get().change_message


@pytest.mark.parametrize("address", [TRY_AGAIN, DISCARD])
@pytest.mark.parametrize(
    "data", [{}, {"key": "x"}, {"key": "²"}, {"key": "9" * 30}, {"all": "1"}, {"until": "5"}]
)
def test_what_is_not_meant_changes_nothing(
    root: Client, rows: Any, address: str, data: dict[str, str]
) -> None:
    assert root.post(address, data).status_code == 302
    assert len(left()) == 3
    assert all(is_failed for _channel, is_failed in left())


def test_rows_that_wait_are_not_touched(root: Client, rows: Any) -> None:
    waiting = Outbox.objects.create(channel="/w/", payload="1", source="code", opened_by="policy:a")
    root.post(DISCARD, {"key": waiting.pk})
    assert Outbox.objects.filter(pk=waiting.pk).exists()


def test_a_database_that_refuses_is_a_sentence(
    root: Client, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(keys: Any) -> int:
        Outbox.objects.filter(pk__in=keys).delete()
        raise DatabaseError("disk full")

    monkeypatch.setattr(failed, "discard", refuse)
    response = root.post(DISCARD, {"key": rows[0].pk}, follow=True)
    assert messages_of(response) == ["The database rejected the change: disk full"]
    assert len(left()) == 3
    assert not LogEntry.objects.exists()


def test_only_what_the_user_may_do_is_offered(rows: Any) -> None:
    seen = signed_in(person("seer", "view_server")).get(PAGE).content.decode()
    assert "/a/" in seen
    assert 'name="key"' not in seen
    assert "Try again…" not in seen
    seen = signed_in(person("sender", "view_server", "publish_message")).get(PAGE).content.decode()
    assert "Try again…" in seen
    assert "Discard…" not in seen
