"""Each route of the admin, requested by users who have only one of the rights."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.forms.models import model_to_dict
from django.test import Client
from django.urls import URLPattern

from djhookbox.models import ChannelPolicy, ConnectionLog, Publication, SubscriptionLog
from djhookbox.process import control

from .catalogue import ADDRESSES, Address
from .stand_in import APP, Hookbox, signed_in

#: Rights that are of use only together, beside each right alone.
TOGETHER = (
    "export_log view_connectionlog",
    "export_log view_subscriptionlog",
    "export_log view_publication",
    "publish_message view_payload view_publication",
    "publish_message view_payload change_publication",
    "publish_message view_payload",
    "publish_message view_server",
    "delete_publication disconnect_user",
    "add_channelpolicy change_channelpolicy",
    "auth.view_user view_channelpolicy",
    "auth.view_user",
)
#: Every right of ours. A test compares them with what the models say.
RIGHTS = (
    *(
        f"{action}_{model}"
        for model in ("ban", "channelpolicy", "connectionlog", "subscriptionlog", "publication")
        for action in ("add", "change", "delete", "view")
    ),
    "view_server", "control_server", "disconnect_user", "subscribe_user", "publish_message",
    "view_payload", "export_log", "erase_person",
)  # fmt: skip
#: What `has_perm()` is asked for is the same on each Django, so that others see only these: the
#: rights that Django itself knows for one model, and some of ours.
ON_EACH_DJANGO = {
    "",
    *(f"{action}_channelpolicy" for action in ("add", "change", "delete", "view")),
    "view_connectionlog",
    "view_server",
    "export_log view_publication",
    "publish_message view_payload change_publication",
    "delete_publication disconnect_user",
    "auth.view_user view_channelpolicy",
}


@pytest.fixture(autouse=True)
def _pretended_process(monkeypatch: pytest.MonkeyPatch, hookbox: Hookbox) -> None:
    """Nothing is started or stopped; it could be."""
    now = control.ProcessStatus(state=control.State.RUNNING, message="", pid=7, identified=True)
    for name in ("status", "start", "stop", "restart"):
        monkeypatch.setattr(control, name, lambda *args: now)
    hookbox.answers["list_connections"] = {"total": 1, "connections": []}
    hookbox.answers["get_channel_info"] = {"subscribers": ["alice"], "options": {}}


def routes() -> set[str]:
    """Return the routes of all pages that belong to us, as the admin has them."""
    return {
        f"{model._meta.model_name}/{pattern.pattern}"
        for model, page in admin.site._registry.items()
        if model._meta.app_label == "djhookbox"
        for pattern in page.get_urls()
        if isinstance(pattern, URLPattern)
    }


def url_of(route: str, populated: dict[str, Any]) -> str:
    row = populated.get(route.partition("/")[0])
    return APP + route.replace("<path:object_id>", str(row.pk) if row else "")


def may(rights: str, has: frozenset[str]) -> bool:
    return rights == "staff" or any(set(one.split(" and ")) <= has for one in rights.split(" or "))


def fetch(client: Client, method: str, route: str, address: Address, populated: Any) -> Any:
    url = url_of(route, populated)
    if method == "get":
        return client.get(url, address.query)
    query = "&".join(f"{name}={value}" for name, value in address.query.items())
    return client.post(f"{url}?{query}", address.data)


def walk(client: Client, has: frozenset[str], populated: Any) -> list[str]:
    """Ask for everything, and return what was answered otherwise than it should be."""
    wrong = []
    for route, address in ADDRESSES.items():
        for method, rights, status in (
            ("get", address.gets, address.answer),
            ("post", address.posts or address.gets, address.posted),
        ):
            if method == "post" and rights == "staff":
                status = address.answer
            with transaction.atomic():  # each finds the rows as they were
                got = fetch(client, method, route, address, populated)
                transaction.set_rollback(True)
            expected = status if may(rights, has) else 403
            if got.status_code != expected or "/login/" in got.headers.get("Location", ""):
                wrong.append(f"{method} {route}: {got.status_code}, not {expected}")
    return wrong


def test_the_table_has_every_route_and_no_other() -> None:
    assert routes() == set(ADDRESSES)


def test_the_list_of_rights_is_complete(db: None) -> None:
    ours = Permission.objects.filter(content_type__app_label="djhookbox")
    assert set(RIGHTS) == set(ours.values_list("codename", flat=True))
    assert {"", *RIGHTS, *TOGETHER} >= ON_EACH_DJANGO


@pytest.mark.parametrize(
    "rights",
    [
        pytest.param(rights, marks=() if rights in ON_EACH_DJANGO else pytest.mark.once)
        for rights in ("", *RIGHTS, *TOGETHER)
    ],
)
def test_a_right_opens_what_it_should_and_nothing_else(
    rights: str, populated: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # More than a hundred pages are refused, of each of which Django logs where.
    caplog.set_level("ERROR", "django.request")
    user = User.objects.create_user("somebody", is_staff=True)
    for right in rights.split():
        label, _dot, codename = right.rpartition(".")
        user.user_permissions.add(
            Permission.objects.get(codename=codename, content_type__app_label=label or "djhookbox")
        )
    client = signed_in(user)
    # Loaded once with its rights, and not by each request.
    loaded = User.objects.get(pk=user.pk)
    with mock.patch("django.contrib.auth.middleware.get_user", return_value=loaded):
        assert walk(client, frozenset(rights.split()), populated) == []


def test_superusers_may_do_all(root: Client, populated: Any) -> None:
    everything = frozenset({*RIGHTS, "auth.view_user"})
    assert walk(root, everything, populated) == []


@pytest.mark.parametrize("method", ["get", "post"])
def test_strangers_are_led_to_the_login(stranger: Client, populated: Any, method: str) -> None:
    for client in (Client(), stranger):
        for route, address in ADDRESSES.items():
            got = fetch(client, method, route, address, populated)
            assert got.status_code == 302, route
            assert got.headers["Location"].startswith("/admin/login/"), route


def test_nothing_is_posted_without_a_token(populated: Any, hookbox: Hookbox) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    for route, address in ADDRESSES.items():
        got = fetch(client, "post", route, address, populated)
        assert got.status_code == 403, route
        assert b"CSRF" in got.content, route
    assert hookbox.calls == []


def test_looking_changes_nothing(root: Client, populated: Any, hookbox: Hookbox) -> None:
    def rows() -> list[Any]:
        models = (ChannelPolicy, ConnectionLog, SubscriptionLog, Publication)
        return [model_to_dict(row) for model in models for row in model.objects.order_by("pk")]

    before = rows()
    for route, address in ADDRESSES.items():
        fetch(root, "get", route, address, populated)
    assert rows() == before
    noted = {entry.get_change_message() for entry in LogEntry.objects.all()}
    assert {note.partition(" ")[0] for note in noted} <= {"Exported"}, "taking a log away is noted"
    asked = {call for call, _form in hookbox.calls}
    assert asked <= {
        "get_channel_info", "get_server_info", "list_channels", "list_connections", "tail",
    }  # fmt: skip
