"""Writing audit rows where the router wants them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections, models, transaction
from django.test import override_settings

from djhookbox.audit import writing
from djhookbox.models import SubscriptionLog

pytestmark = pytest.mark.django_db


class AuditRouter:
    """Keeps the audit log in a database of its own."""

    def db_for_write(self, model: type[models.Model], **hints: object) -> str | None:
        return "audit" if model is SubscriptionLog else None

    db_for_read = db_for_write


@pytest.fixture
def audit_database() -> Iterator[None]:
    """A second database, which has nothing but the subscription log."""
    databases = connections.settings
    databases["audit"] = {
        **databases["default"],
        "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {},
    }  # fmt: skip
    connection = connections["audit"]
    connection.connect()
    # A test case lets only the databases be opened that there were when it began.
    connection.ensure_connection = lambda: None  # type: ignore[method-assign]
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
