"""Audit log rows are written to the database that the router chooses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection, connections, models, transaction
from django.test import override_settings

import djhookbox
from djhookbox.audit import payloads, writing
from djhookbox.models import ChannelPolicy, Publication, SubscriptionLog
from djhookbox.testing import capture_publications

pytestmark = pytest.mark.django_db


class AuditRouter:
    """Keeps the audit log in a separate database."""

    def db_for_write(self, model: type[models.Model], **hints: object) -> str | None:
        return "audit" if model is SubscriptionLog else None

    db_for_read = db_for_write


@pytest.fixture
def audit_database(tmp_path: Path) -> Iterator[None]:
    """A second database that only contains the subscription log."""
    databases = connections.settings
    databases["audit"] = {
        **databases["default"],
        # A file, because Django never closes a database in memory.
        "ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "audit.sqlite3", "OPTIONS": {},
    }  # fmt: skip
    audit = connections["audit"]
    audit.connect()
    # A test case lets only the databases be opened that there were when it began.
    audit.ensure_connection = lambda: None  # type: ignore[method-assign]
    try:
        with connections["audit"].schema_editor() as editor:
            editor.create_model(SubscriptionLog)
        with override_settings(DATABASE_ROUTERS=[AuditRouter()]):
            yield
    finally:
        connections["audit"].close()
        del connections["audit"]
        del databases["audit"]


def test_a_refused_row_undoes_nothing_in_the_database_of_the_router(audit_database: None) -> None:
    good = SubscriptionLog(event="subscribe", channel="/b/")
    bad = SubscriptionLog(event="subscribe")
    bad.channel = None  # type: ignore[assignment]
    with transaction.atomic(using="audit"):
        writing.write_all(SubscriptionLog, [good, bad])
    rows = SubscriptionLog.objects.using("audit").values_list("channel", flat=True)
    assert list(rows) == ["/b/"]


# ---- what a database cannot hold -------------------------------------------------


@pytest.fixture
def narrow_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns with three bytes per character, like `utf8mb3` of MySQL."""
    save, bulk_create = models.Model.save, models.QuerySet.bulk_create

    def check(row: models.Model) -> None:
        for field in row._meta.concrete_fields:
            if max(str(getattr(row, field.attname)), default="") > "\uffff":
                raise OperationalError(1366, "Incorrect string value")

    def narrow_save(self: Any, *args: Any, **kwargs: Any) -> None:
        check(self)
        save(self, *args, **kwargs)

    def narrow_bulk_create(self: Any, rows: Any, *args: Any, **kwargs: Any) -> Any:
        for row in rows:
            check(row)
        return bulk_create(self, rows, *args, **kwargs)

    monkeypatch.setattr(models.Model, "save", narrow_save)
    monkeypatch.setattr(models.QuerySet, "bulk_create", narrow_bulk_create)


def published(payload: Any, channel: str = "/a/") -> Publication:
    return Publication(channel=channel, source="client", status="sent", **payloads.kept(payload))


def test_characters_that_the_database_has_not_got_cost_no_row(narrow_columns: None) -> None:
    rows = [published("plain"), published("x", "/😀/"), published("plain too")]
    writing.write_all(Publication, rows)
    assert list(Publication.objects.order_by("pk").values_list("channel", "payload", "kept")) == [
        ("/a/", "plain", "whole"), ("/�/", "x", "whole"), ("/a/", "plain too", "whole"),
    ]  # fmt: skip


def test_a_payload_that_the_database_cannot_hold_is_left_out(
    narrow_columns: None, caplog: pytest.LogCaptureFixture
) -> None:
    row = writing.write(published(["😀"]))
    assert row is not None
    row.refresh_from_db()
    assert (row.payload, row.kept, row.preview, row.size) == (None, "nothing", '["�"]', 8)
    assert "without the values that do not fit" in caplog.text


def test_code_that_publishes_it_leaves_a_row_too(
    narrow_columns: None, make_policy: Callable[..., ChannelPolicy]
) -> None:
    make_policy("/a/")
    with transaction.atomic(), capture_publications():
        djhookbox.publish("/a/", "😀")
    (row,) = Publication.objects.all()
    assert (row.status, row.kept) == ("sent", "nothing")


def test_payloads_of_any_depth_leave_a_row() -> None:
    """MariaDB takes no JSON of more than 31 levels."""
    for depth in (20, 31, 32, 99):
        payload = json.loads("[" * depth + "]" * depth)
        row = writing.write(published(payload))
        assert row is not None
        row.refresh_from_db()
        assert row.payload == (payload if row.kept == "whole" else None)
        assert row.kept == "whole" or (connection.vendor == "mysql" and depth > 31)


def test_a_database_that_is_away_is_no_reason_to_leave_anything_out() -> None:
    refusals = [OperationalError("database is locked"), OperationalError(1205, "Lock wait timeout")]
    for refusal in refusals:
        with (
            mock.patch.object(models.QuerySet, "bulk_create", side_effect=refusal),
            pytest.raises(OperationalError),
        ):
            writing.write_all(Publication, [published("😀")])
        with mock.patch.object(Publication, "save", side_effect=refusal) as save:
            assert writing.write(published("😀")) is None
        assert save.call_count == 1
