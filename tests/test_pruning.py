from __future__ import annotations

import datetime
import io
import itertools
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djhookbox.audit import pruning
from djhookbox.models import ConnectionLog, Pruning, Publication, SubscriptionLog

pytestmark = pytest.mark.django_db


def fill(count: int, days: float = 40) -> None:
    """Add this many old rows to each log, and one of today."""
    old = timezone.now() - datetime.timedelta(days=days)
    for model in pruning.LOGS.values():
        model.objects.bulk_create([model(created=old) for _ in range(count)] + [model()])


def left() -> list[int]:
    return [model.objects.count() for model in pruning.LOGS.values()]


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("hookbox_prune", *arguments, stdout=out)
    return out.getvalue()


def test_what_is_older_goes_and_the_rest_stays() -> None:
    fill(5)
    done = pruning.prune(30)
    assert done.complete
    assert done.counts == {"connections": 5, "subscriptions": 5, "publications": 5}
    assert left() == [1, 1, 1]
    note = Pruning.last()
    assert note is not None
    assert (note.connections, note.complete) == (5, True)
    assert str(note) == f"{note.ended:%Y-%m-%d %H:%M}"


def test_it_is_done_in_batches() -> None:
    fill(7)
    with CaptureQueriesContext(connection) as queries:
        pruning.prune(30, batch=3)
    statements = [query["sql"] for query in queries.captured_queries]
    lives = 1  # of processes, at the end
    assert len([sql for sql in statements if sql.startswith("DELETE")]) == 3 * 3 + lives
    for sql in statements:
        if sql.startswith("SELECT") and '"created" <' in sql:
            assert sql.endswith("LIMIT 3")
    assert left() == [1, 1, 1]


def test_the_limit_of_a_database_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connection.features), "max_query_params", 4)
    fill(9)
    assert pruning.prune(30).counts["connections"] == 9


def test_it_stops_when_its_time_is_over_and_goes_on_later() -> None:
    fill(6)
    ticks = itertools.count()
    first = pruning.prune(30, seconds=2, batch=2, clock=lambda: next(ticks))
    assert not first.complete
    assert first.counts == {"connections": 4, "subscriptions": 0, "publications": 0}
    note = Pruning.last()
    assert note is not None
    assert not note.complete
    second = pruning.prune(30)
    assert second.complete
    note.refresh_from_db()
    assert (note.connections, note.subscriptions, note.complete) == (6, 6, True)
    pruning.prune(30)
    note.refresh_from_db()
    assert note.connections == 0, "a new time counts anew"
    assert Pruning.objects.count() == 1


def test_the_command_says_what_it_did(settings: Any) -> None:
    settings.HOOKBOX_LOG_DAYS = 30
    fill(3)
    trial = run("--dry-run")
    assert "Entries that would be deleted:" in trial
    assert "connection log: 3" in trial
    assert left() == [4, 4, 4]
    assert Pruning.last() is None
    text = run()
    assert "Deleted entries:" in text
    assert "publish history: 3" in text
    assert "30 days" in text
    assert left() == [1, 1, 1]


def test_the_command_takes_other_days() -> None:
    fill(2, days=5)
    run()
    assert left() == [3, 3, 3]
    run("--days", "4")
    assert left() == [1, 1, 1]


@pytest.mark.parametrize("days", ["0", "-1", "99999999"])
def test_days_that_are_none(days: str) -> None:
    fill(1)
    with pytest.raises(CommandError, match="--days"):
        run("--days", days)
    assert left() == [2, 2, 2]


def test_no_days_are_not_taken_for_the_setting_that_keeps_all() -> None:
    fill(1)
    with pytest.raises(CommandError, match=r"whereas HOOKBOX_LOG_DAYS = 0 keeps them all"):
        run("--days", "0")
    assert left() == [2, 2, 2]


@pytest.mark.parametrize("never", [0, None])
def test_all_can_be_kept(settings: Any, never: int | None) -> None:
    settings.HOOKBOX_LOG_DAYS = never
    fill(1, days=9999)
    assert "All entries are kept" in run()
    assert left() == [2, 2, 2]


def test_a_wrong_setting_is_a_plain_error(settings: Any) -> None:
    settings.HOOKBOX_LOG_DAYS = "soon"
    with pytest.raises(CommandError, match="HOOKBOX_LOG_DAYS"):
        run()


def test_rows_of_all_kinds_are_known() -> None:
    assert set(pruning.LOGS.values()) == {ConnectionLog, SubscriptionLog, Publication}
