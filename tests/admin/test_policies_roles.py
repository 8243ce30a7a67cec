"""Policies and publishing: each page for each role, in each state of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from djhookbox.client import calls as rest
from djhookbox.exceptions import HookboxMisconfigured, HookboxUnreachable
from djhookbox.models import ChannelPolicy

from .catalogue import ADDRESSES
from .stand_in import APP, Hookbox, messages_of, person, signed_in

#: Page → which roles see it, and how many queries it may take at the most.
PAGES: dict[str, tuple[str, int]] = {
    "channelpolicy/": ("root viewer", 9),
    "channelpolicy/?q=News": ("root viewer", 9),
    "channelpolicy/add/": ("root", 6),
    "channelpolicy/{pk}/change/": ("root viewer", 9),
    "channelpolicy/{pk}/delete/": ("root", 8),
    "channelpolicy/{pk}/history/": ("root viewer", 7),
    "channelpolicy/preview/?pattern=/x/": ("root viewer", 6),
    "channelpolicy/try/": ("root viewer", 4),
    "channelpolicy/try/?channel=/front/&user=viewer": ("root viewer", 13),
    "channelpolicy/try/users/?q=v": ("root", 4),
    "channelpolicy/export/": ("root viewer", 7),
    "channelpolicy/import/": ("root", 4),
    "publishing/": ("root publisher", 4),
    "publishing/?channel=/front/": ("root publisher", 5),
    "publishing/?channel=/front/&channel=/news/a/": ("root publisher", 4),
    "publishing/?policy={pk}": ("root publisher", 7),
    "publishing/channels/?q=/": ("root publisher", 4),
    "publishing/audience/?channel=/front/": ("root publisher", 5),
}

ROLES = ("root", "viewer", "publisher", "staff", "stranger")


@pytest.fixture
def as_role(root: Client, viewer: Client, staff: Client, stranger: Client) -> dict[str, Client]:
    publisher = signed_in(person("publisher", "publish_message"))
    return dict(zip(ROLES, (root, viewer, publisher, staff, stranger), strict=True))


def refuse(error: Exception) -> Callable[..., Any]:
    def call(
        name: str, seconds: float | None = None, base: str | None = None, /, **form: Any
    ) -> Any:
        raise error

    return call


STATES: dict[str, Callable[..., Any] | None] = {
    "running": None,
    "stopped": refuse(HookboxUnreachable("Cannot be reached.", code="unavailable")),
    "slow": refuse(HookboxUnreachable("Did not answer within 2 seconds.", code="unavailable")),
    "wrong secret": refuse(HookboxMisconfigured("Does not accept the secret.", code="secret")),
    "strange": lambda name, seconds=None, /, **form: {
        "channels": None,
        "total": "many",
        "names": 3,
    },
}


@pytest.fixture(params=STATES)
def state(request: Any, hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch) -> None:
    hookbox.live = {"/front/": 3, "/news/a/": 1}
    answer = STATES[request.param]
    if answer is not None:
        monkeypatch.setattr(rest, "rest_call", answer)


@pytest.mark.usefixtures("state")
def test_each_page_for_each_role_in_each_state(as_role: dict[str, Client], rows: Any) -> None:
    for page, (roles, most) in PAGES.items():
        url = APP + page.format(pk=rows["channelpolicy"].pk)
        for role, client in as_role.items():
            with CaptureQueriesContext(connection) as queries:
                response = client.get(url)
            if role == "stranger":
                assert response.status_code == 302, (page, role)
                assert "/login/" in response["Location"], (page, role)
            else:
                expected = 200 if role in roles.split() else 403
                assert response.status_code == expected, (page, role)
                assert len(queries) <= most, (page, role, queries.captured_queries)


@pytest.fixture
def read_only(as_role: dict[str, Client], rows: Any) -> Iterator[None]:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite is made read-only by a statement")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = OFF")


def test_pages_of_a_database_that_is_read_only(
    as_role: dict[str, Client], rows: Any, hookbox: Hookbox, read_only: None
) -> None:
    pk, root = rows["channelpolicy"].pk, as_role["root"]
    for page in PAGES:
        assert root.get(APP + page.format(pk=pk)).status_code == 200, page


def test_what_is_sent_is_said_although_nothing_can_be_written(
    root: Client, rows: Any, hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise DatabaseError("read-only")

    monkeypatch.setattr(LogEntry, "save", fail)
    response = root.post(f"{APP}publishing/", {"channel": "/front/", "payload": "1"}, follow=True)
    said = messages_of(response)
    assert "The database rejected the history entry." in said
    assert "Published to /front/; it reached 2 connections." in said


def test_moves_and_imports_that_the_database_does_not_take(
    root: Client, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise DatabaseError("read-only")

    monkeypatch.setattr(ChannelPolicy, "save", fail)
    data = {"move": f"{rows['channelpolicy'].pk}:down"}
    response = root.post(f"{APP}channelpolicy/move/", data, follow=True)
    assert messages_of(response) == ["The database rejected the change."]
    text = '[{"model": "djhookbox.channelpolicy", "fields": {"name": "A", "pattern": "/a/"}}]'
    seen = root.post(f"{APP}channelpolicy/import/", {"text": text}).context["digest"]
    data = {"text": text, "seen": seen}
    response = root.post(f"{APP}channelpolicy/import/", data, follow=True)
    assert messages_of(response)[-1] == ("The database rejected the changes. Nothing was imported.")


def test_moves_and_imports_whose_entries_the_database_does_not_take(
    root: Client, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise DatabaseError("read-only")

    text = '[{"model": "djhookbox.channelpolicy", "fields": {"name": "A", "pattern": "/a/"}}]'
    seen = root.post(f"{APP}channelpolicy/import/", {"text": text}).context["digest"]
    before = list(ChannelPolicy.objects.values())
    monkeypatch.setattr(LogEntry, "save", fail)
    data = {"text": text, "seen": seen}
    response = root.post(f"{APP}channelpolicy/import/", data, follow=True)
    assert messages_of(response) == ["The database rejected the changes. Nothing was imported."]
    data = {"move": f"{rows['channelpolicy'].pk}:down"}
    response = root.post(f"{APP}channelpolicy/move/", data, follow=True)
    assert messages_of(response) == ["The database rejected the change."]
    assert list(ChannelPolicy.objects.values()) == before


def test_changes_that_the_database_does_not_take(
    as_role: dict[str, Client], rows: Any, hookbox: Hookbox, read_only: None
) -> None:
    root, policy = as_role["root"], rows["channelpolicy"]
    page = f"{APP}channelpolicy/"
    change = f"{page}{policy.pk}/change/"
    posts: list[tuple[str, dict[str, Any]]] = [
        (change, {**ADDRESSES["channelpolicy/<path:object_id>/change/"].data, "note": "new"}),
        (f"{page}{policy.pk}/delete/", {"post": "yes"}),
        *(
            (page, {"action": action, "_selected_action": [policy.pk], "post": "yes"})
            for action in ("disable", "duplicate", "delete_selected")
        ),
    ]
    for url, data in posts:
        response = root.post(url, data, follow=True)
        assert response.status_code == 200, data
        (said,) = messages_of(response)
        assert said.startswith("The database rejected the change: "), data
    assert not [call for call, _form in hookbox.calls if call == "revoke"]
