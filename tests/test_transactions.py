from __future__ import annotations

import contextlib

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase

from djhookbox.transactions import after_transaction


class Recorder:
    """Records calls and writes a row at each, like the real users of `after_transaction`."""

    def __init__(self):
        self.calls = []

    def later(self, name):
        def func():
            self.calls.append((name, connection.in_atomic_block))
            Group.objects.create(name=name)

        after_transaction("default", func)

    @property
    def names(self):
        return [name for name, _inside in self.calls]


@pytest.fixture
def recorder():
    return Recorder()


def rows():
    return set(Group.objects.values_list("name", flat=True))


def untouched():
    return not {"set_autocommit", "savepoint_commit"} & set(vars(connection))


class Oops(Exception):
    pass


@contextlib.contextmanager
def rolled_back():
    with contextlib.suppress(Oops), transaction.atomic():
        yield
        raise Oops


# ---- with real transactions


@pytest.mark.django_db(transaction=True)
class TestRealTransactions:
    def test_without_a_transaction_at_once(self, recorder):
        recorder.later("a")
        assert recorder.calls == [("a", False)]
        assert rows() == {"a"}

    def test_what_fails_at_once_is_raised(self):
        with pytest.raises(Oops):
            after_transaction("default", raise_oops)

    def test_after_a_commit(self, recorder):
        with transaction.atomic():
            recorder.later("a")
            assert recorder.calls == []
        assert recorder.calls == [("a", False)]
        assert rows() == {"a"}
        assert untouched()

    def test_after_a_rollback(self, recorder):
        with rolled_back():
            Group.objects.create(name="undone")
            recorder.later("a")
        assert recorder.calls == [("a", False)]
        assert rows() == {"a"}
        assert untouched()

    def test_after_a_rollback_without_an_exception(self, recorder):
        with transaction.atomic():
            Group.objects.create(name="undone")
            recorder.later("a")
            transaction.set_rollback(True)
        assert rows() == {"a"}

    def test_only_the_outermost_block_counts(self, recorder):
        with transaction.atomic():
            with rolled_back():
                recorder.later("inner")
            assert recorder.calls == []
            with transaction.atomic():
                recorder.later("second")
            with transaction.atomic(savepoint=False):
                recorder.later("third")
            assert recorder.calls == []
        assert recorder.names == ["inner", "second", "third"]

    def test_the_next_transaction_starts_afresh(self, recorder):
        for name in ("a", "b"):
            with transaction.atomic():
                recorder.later(name)
        assert recorder.names == ["a", "b"]

    def test_on_commit_comes_first_and_its_failure_changes_nothing(self, recorder):
        with contextlib.suppress(Oops), transaction.atomic():
            transaction.on_commit(lambda: recorder.calls.append(("hook", False)))
            transaction.on_commit(raise_oops)
            recorder.later("a")
        assert recorder.names == ["hook", "a"]
        assert untouched()

    def test_one_that_fails_is_logged_and_the_others_run(self, recorder, caplog):
        with transaction.atomic():
            after_transaction("default", raise_oops)
            recorder.later("a")
        assert recorder.names == ["a"]
        assert "Oops" in caplog.text

    def test_one_can_wait_for_a_transaction_of_its_own(self, recorder):
        def func():
            with transaction.atomic():
                recorder.later("inner")
            recorder.calls.append(("outer", False))

        with transaction.atomic():
            after_transaction("default", func)
        assert recorder.names == ["inner", "outer"]

    def test_a_connection_closed_inside_is_made_up_for_at_the_next_use(self, recorder):
        with rolled_back():
            recorder.later("a")
            connection.close()
        assert rows() >= {"a"}
        assert recorder.names == ["a"]

    def test_autocommit_switched_off_by_hand(self, recorder):
        transaction.set_autocommit(False)
        try:
            recorder.later("a")
            with transaction.atomic():
                recorder.later("b")
            assert recorder.names == ["a", "b"]
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    def test_somebody_elses_wrapper_is_left_alone(self, recorder):
        calls = []
        original = connection.set_autocommit

        def wrapper(*args, **kwargs):
            calls.append(args)
            return original(*args, **kwargs)

        connection.set_autocommit = wrapper
        try:
            with transaction.atomic():
                recorder.later("a")
            assert connection.set_autocommit is wrapper
            assert recorder.names == ["a"]
            assert (True,) in calls
        finally:
            del connection.set_autocommit


# ---- inside of Django's TestCase, whose own transactions never end


class InTestCase(TestCase):
    def setUp(self):
        self.recorder = Recorder()

    def test_without_a_block_of_the_project_at_once(self):
        self.recorder.later("a")
        assert self.recorder.names == ["a"]

    def test_after_a_commit(self):
        with transaction.atomic():
            self.recorder.later("a")
            assert self.recorder.calls == []
        assert self.recorder.names == ["a"]
        assert untouched()

    def test_after_a_rollback(self):
        with rolled_back():
            Group.objects.create(name="undone")
            self.recorder.later("a")
        assert rows() == {"a"}
        assert untouched()

    def test_only_the_outermost_block_counts(self):
        with rolled_back():
            with transaction.atomic():
                self.recorder.later("a")
            with rolled_back():
                self.recorder.later("b")
            assert self.recorder.calls == []
        assert rows() == {"a", "b"}

    def test_a_block_without_a_savepoint(self):
        with transaction.atomic(savepoint=False):
            self.recorder.later("a")
            assert self.recorder.names == ["a"]
        assert rows() == {"a"}

    @classmethod
    def setUpTestData(cls):
        recorder = Recorder()
        with transaction.atomic():
            recorder.later("of the class")
        assert recorder.names == ["of the class"]
        Group.objects.all().delete()


def raise_oops():
    raise Oops
