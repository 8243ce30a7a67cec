"""Checks of the databases, and what they warn about."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.db import OperationalError, connection, connections, router, transaction
from django.db.models.signals import pre_save

from djhookbox.commits import writing
from djhookbox.models import ChannelPolicy, Node

Other = Callable[..., str]


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Any:
    """Return a function that adds a database to the site, for our models, and returns its alias."""
    added: list[str] = []

    def add(**settings: Any) -> str:
        alias = f"other{len(added)}"
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / alias), **settings}
        connections.settings[alias] = connections.configure_settings({"default": {}, alias: entry})[
            alias
        ]
        added.append(alias)
        for name in ("db_for_write", "db_for_read"):
            monkeypatch.setattr(router, name, lambda model, **hints: alias)
        return alias

    with django_db_blocker.unblock():
        yield add
    for alias in added:
        connections[alias].close()
        delattr(connections._connections, alias)  # type: ignore[attr-defined]
        del connections.settings[alias]


def found() -> list[str | None]:
    return [message.id for message in checks.run_checks(tags=["djhookbox"])]


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"ATOMIC_REQUESTS": True}, True),
        ({"ATOMIC_REQUESTS": True, "OPTIONS": {"transaction_mode": "DEFERRED"}}, True),
        ({"ATOMIC_REQUESTS": True, "OPTIONS": {"timeout": 20}}, True),
        ({"ATOMIC_REQUESTS": True, "OPTIONS": {"transaction_mode": "IMMEDIATE"}}, False),
        ({"ATOMIC_REQUESTS": True, "OPTIONS": {"transaction_mode": "exclusive"}}, False),
        ({}, False),
        ({"ATOMIC_REQUESTS": True, "ENGINE": "django.db.backends.dummy"}, False),
    ],
)
def test_sqlite_with_atomic_requests(other: Other, given: dict[str, Any], warned: bool) -> None:
    alias = other(**given)
    messages = [m for m in checks.run_checks(tags=["djhookbox"]) if m.id == "djhookbox.W028"]
    assert bool(messages) is warned
    for message in messages:
        assert repr(alias) in message.msg
        assert "IMMEDIATE" in (message.hint or "")


@pytest.mark.parametrize("mode", ["DEFERRED", "IMMEDIATE"])
def test_what_the_check_says_is_true(other: Other, tmp_path: Path, mode: str) -> None:
    alias = other(OPTIONS={"transaction_mode": mode, "timeout": 0.05})
    call_command("migrate", "djhookbox", database=alias, verbosity=0)

    def view() -> None:
        with transaction.atomic(using=alias):  # as ATOMIC_REQUESTS does
            assert not Node.objects.using(alias).exists()
            with closing(sqlite3.connect(tmp_path / alias, timeout=0.05)) as reporting:
                reporting.isolation_level = None
                reporting.execute("BEGIN IMMEDIATE")  # raises if it has to wait
                reporting.execute("UPDATE djhookbox_node SET boot = boot")
                Node.objects.using(alias).create(boot="b")

    with pytest.raises((OperationalError, sqlite3.OperationalError), match="locked") as caught:
        view()
    # The process waits and tries again; a visitor gets an error page.
    whose = sqlite3.OperationalError if mode == "IMMEDIATE" else OperationalError
    assert caught.type is whose


def test_changes_of_policies_are_not_overtaken(other: Other, tmp_path: Path) -> None:
    alias = other(OPTIONS={"timeout": 0.05})
    call_command("migrate", "djhookbox", database=alias, verbosity=0)
    ChannelPolicy.objects.using(alias).create(name="News", pattern="/news/")
    refused = []

    def report(**kwargs: Any) -> None:
        try:
            reporting.execute("UPDATE djhookbox_node SET boot = boot")
        except sqlite3.OperationalError as error:
            refused.append(str(error))

    pre_save.connect(report, sender=ChannelPolicy)
    stack = ExitStack()
    stack.callback(pre_save.disconnect, report, sender=ChannelPolicy)
    with stack:
        reporting = stack.enter_context(closing(sqlite3.connect(tmp_path / alias, timeout=0.05)))
        with writing(ChannelPolicy):
            policy = ChannelPolicy.objects.using(alias).get()
            policy.note = "x"
            policy.save()
    assert refused == ["database is locked"], "who reports has to wait"
    assert ChannelPolicy.objects.using(alias).get().note == "x"


# ---- durable policies on SQLite


def durable_warnings(alias: str) -> list[str]:
    found = checks.run_checks(tags=[checks.Tags.database], databases=[alias])
    return [message.msg for message in found if message.id == "djhookbox.W032"]


GOOD = {
    "transaction_mode": "IMMEDIATE", "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        (GOOD, []),
        ({**GOOD, "timeout": 1}, ["with a timeout of less than 5 seconds"]),
        ({**GOOD, "init_command": ""}, ["without WAL"]),
        ({}, ["without transaction_mode “IMMEDIATE” and without WAL"]),
    ],
)
def test_sqlite_is_set_up_for_several_writers_if_channels_are_durable(
    other: Other, options: dict[str, Any], lacks: list[str]
) -> None:
    alias = other(OPTIONS=options)
    assert durable_warnings(alias) == [], "it has not been migrated"
    call_command("migrate", database=alias, verbosity=0)
    assert durable_warnings(alias) == []
    ChannelPolicy.objects.using(alias).create(name="orders", pattern="/orders/", durable=True)
    found = durable_warnings(alias)
    assert len(found) == len(lacks)
    assert all(text in message for text, message in zip(lacks, found, strict=True))


@pytest.mark.django_db(transaction=True)
def test_keys_of_the_outbox_are_in_order() -> None:
    def warnings() -> list[str]:
        messages = checks.run_checks(tags=["database"], databases=["default"])
        return [f"{each.msg} {each.hint}" for each in messages if each.id == "djhookbox.W034"]

    change, back, words = {
        "postgresql": (
            "ALTER SEQUENCE djhookbox_outbox_id_seq CACHE 20",
            "ALTER SEQUENCE djhookbox_outbox_id_seq CACHE 1",
            "djhookbox_outbox_id_seq of the table djhookbox_outbox has a cache of 20 values",
        ),
        "mysql": (
            "SET GLOBAL auto_increment_increment = 3",
            "SET GLOBAL auto_increment_increment = 1",
            "auto_increment_increment is 3",
        ),
        "sqlite": ("SELECT 1", "SELECT 1", ""),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(change)
        try:
            assert warnings() == [], "nothing is durable"
            ChannelPolicy.objects.create(name="orders", pattern="/orders/", durable=True)
            assert all(words in text for text in warnings())
            assert len(warnings()) == bool(words)
        finally:
            cursor.execute(back)
    assert warnings() == []


@pytest.mark.parametrize(
    ("entry", "identifier", "part"),
    [
        ("djhookbox", "W036", "outbox"),
        ("djhookbox.apps.HookboxConfig", "W036", "outbox"),
        ("django.contrib.auth", "W037", "auth.User"),
        ("django.contrib.auth.apps.AuthConfig", "W037", "auth.User"),
    ],
)
def test_tables_of_each_tenant(settings: Any, entry: str, identifier: str, part: str) -> None:
    settings.SHARED_APPS = ["djhookbox", "django.contrib.auth"]  # it may be in both
    settings.TENANT_APPS = ["django.contrib.sessions", entry]
    (message,) = checks.run_checks(tags=["djhookbox"])
    assert message.id == f"djhookbox.{identifier}"
    assert part in message.msg
    assert "SHARED_APPS" in (message.hint or "")


def test_tables_that_tenants_share(settings: Any) -> None:
    settings.TENANT_APPS = ["django.contrib.sessions"]
    assert checks.run_checks(tags=["djhookbox"]) == []
