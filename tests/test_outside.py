"""Rows that must survive the rollback of the caller's transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connections, transaction
from django.test import TestCase

from djhookbox.audit import outside
from djhookbox.audit.outside import call_outside

from .stand_ins.waiting import wait_for


class Oops(Exception):
    pass


class Busy:
    """A connection with a transaction that does not end."""

    in_atomic_block = True
    autocommit = True


@pytest.fixture(autouse=True)
def own_process(real_process: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(outside, "RETRY_SECONDS", 0.01)
    yield
    assert outside.finish(10)


def writing(name: str, threads: list[str] | None = None) -> Callable[[], None]:
    def func() -> None:
        if threads is not None:
            threads.append(threading.current_thread().name)
        Group.objects.create(name=name)

    return func


def rows() -> list[str]:
    assert outside.finish(10)
    return list(Group.objects.order_by("pk").values_list("name", flat=True))


@pytest.mark.django_db(transaction=True)
class TestRealTransactions:
    def test_without_a_transaction_at_once(self) -> None:
        call_outside("default", writing("a"))
        assert Group.objects.exists()
        with pytest.raises(Oops):
            call_outside("default", fail)

    def test_in_a_transaction_later_whether_it_is_committed_or_not(self) -> None:
        threads: list[str] = []
        with suppress(Oops), transaction.atomic():
            Group.objects.create(name="undone")
            with transaction.atomic():
                call_outside("default", writing("rolled back", threads))
            assert not outside.finish(0.2), "it waits for the end"
            raise Oops
        assert rows() == ["rolled back"]
        with transaction.atomic():
            call_outside("default", writing("committed", threads))
        assert rows() == ["rolled back", "committed"]
        assert set(threads) == {"hookbox-audit-log"}

    def test_one_that_waits_for_long_does_not_block_others(self) -> None:
        busy = Busy()
        outside._writer.add(writing("late"), busy)
        with transaction.atomic():
            call_outside("default", writing("early"))
        wait_for(Group.objects.exists, "the other one")
        busy.in_atomic_block = False
        assert rows() == ["early", "late"]

    def test_a_database_that_fails_is_tried_again(self, caplog: pytest.LogCaptureFixture) -> None:
        attempts = []

        def func() -> None:
            attempts.append(1)
            if len(attempts) < 3:
                raise OperationalError("database is locked")
            Group.objects.create(name="at last")

        with transaction.atomic():
            call_outside("default", func)
        assert rows() == ["at last"]
        assert not caplog.text

    def test_what_fails_for_good_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        def down() -> None:
            raise OperationalError("the disk is full")

        with transaction.atomic():
            call_outside("default", down)
            call_outside("default", fail)
            call_outside("default", writing("the next one"))
        assert rows() == ["the next one"]
        assert "the disk is full" in caplog.text
        assert "Oops" in caplog.text

    def test_no_connection_is_held_while_nothing_waits(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closing: list[str] = []

        def close_all() -> None:
            closing.append(threading.current_thread().name)

        monkeypatch.setattr(connections, "close_all", close_all)
        with transaction.atomic():
            call_outside("default", writing("a"))
        wait_for(lambda: "hookbox-audit-log" in closing, "the connection to be closed")
        assert outside._writer._thread is not None, "it does not wait for its end"

    def test_their_number_is_limited(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outside, "MOST", 2)
        with transaction.atomic():
            for name in "abc":
                call_outside("default", writing(name))
        assert rows() == ["a", "b"]
        assert "was lost" in caplog.text

    def test_with_autocommit_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        transaction.set_autocommit(False)
        try:
            call_outside("default", writing("a"))
            assert not outside.finish(0.1)
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        assert rows() == ["a"]


def fail() -> None:
    raise Oops


class InTestCase(TestCase):
    def test_everything_is_written_at_once(self) -> None:
        call_outside("default", writing("a"))
        with transaction.atomic():
            call_outside("default", writing("b"))
        assert set(Group.objects.values_list("name", flat=True)) == {"a", "b"}
