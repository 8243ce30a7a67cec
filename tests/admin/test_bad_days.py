"""No page fails, whatever the process answers, and if it does not answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test import Client

from djhookbox.client import calls as rest
from djhookbox.client import http
from djhookbox.models import ChannelPolicy, ConnectionLog, Publication, SubscriptionLog

from ..stand_ins.process import Answer, FakeHookbox, Request, fake_hookbox
from .catalogue import ADDRESSES, pages
from .stand_in import APP, Hookbox
from .test_rights import fetch, url_of

#: The function itself, which the tests of the admin replace.
REST_CALL = rest.rest_call

NOISE: dict[str, Any] = {
    "version": ["1"], "pid": "x", "uptime": "long", "engine": {}, "connections": "many",
    "users": -1, "channels": [[]], "messages_in_per_second": 1e308, "rates": [1, None],
    "webhooks": "none", "channel_list": {"total": True, "listed": [None, {"name": 7}]},
    "connection_list": {"total": 1, "listed": {"id": 1}}, "subscribers": {"a": 1}, "total": "9",
    "options": ["history"], "delivered": "all", "subscriptions": None,
}  # fmt: skip


def says(*value: object, status: int = 200) -> Callable[[Request], Answer]:
    return lambda request: Answer(status, json.dumps(value))


def genuine(request: Request) -> Answer:
    """Answer as Hookbox 0.3.3 answers what it does not know."""
    if request.call in ("publish", "subscribe", "unsubscribe"):
        return Answer(200, "[true, {}]")
    if request.call == "get_channel_info":
        return Answer(200, '[true, {"name": "/front/", "subscribers": ["alice"], "options": {}}]')
    return Answer(500, '[false, {"msg": "Not Implemented"}]')


ANSWERS: dict[str, Callable[[Request], Answer]] = {
    "wrong secret": says(False, {"msg": "Invalid secret"}),
    "wrong secret, 403": says(False, {"msg": "Invalid secret"}, status=403),
    "other version": says(True, {"version": "0.9.0", "connections": 3}),
    "genuine": genuine,
    "refuses": says(False, {"error": "No <b>way</b>.", "code": "refused"}),
    "noise": says(True, NOISE),
    "nothing": lambda request: Answer(200, ""),
    "a page": lambda request: Answer(200, "<html>It works!</html>"),
    "a number": lambda request: Answer(200, "17"),
    "nested": lambda request: Answer(200, "[" * 100_000),
    "failure": lambda request: Answer(500, "Internal Server Error"),
    "bad gateway": lambda request: Answer(502, "<html>nginx</html>"),
    "elsewhere": lambda request: Answer(302, "", {"Location": "http://127.0.0.1:1/"}),
    "hangs up": lambda request: Answer(hang_up=True),
}


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, settings: Any, hookbox: Hookbox) -> Iterator[Any]:
    """A process that is called for real, and answers as a test wants it to."""
    monkeypatch.setattr(rest, "rest_call", REST_CALL)
    http.forget_connections()
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        settings.HOOKBOX_PROCESS_CONTROL = False
        yield fake
    http.forget_connections()


#: What asked a running process for nothing: how that answers makes no difference there.
_silent: set[str] = set()


@contextmanager
def heard(what: str, process: FakeHookbox | None) -> Iterator[None]:
    """Note what asks for nothing while the block runs."""
    times = len(process.requests) if process else 0
    yield
    if process and len(process.requests) == times:
        _silent.add(what)


def look_everywhere(root: Client, populated: Any, process: FakeHookbox | None = None) -> None:
    for name, page in pages(populated).items():
        if name not in _silent:
            with heard(name, process):
                response = root.get(page, follow=True)
            assert response.status_code == 200, name
            assert "No <b>way" not in response.content.decode(), name


def post_everywhere(root: Client, populated: Any, process: FakeHookbox | None = None) -> None:
    for route, address in ADDRESSES.items():
        left_out = "/delete/" in route or route in ("server/start/", "server/stop/")
        if not left_out and route not in _silent:
            with heard(route, process):
                response = fetch(root, "post", route, address, populated)
            assert response.status_code in (200, 302, 403, 405), route
    # The deletion last: the others need the rows.
    url = f"{APP}channelpolicy/{populated['channelpolicy'].pk}/delete/"
    assert root.post(url, {"post": "yes"}, follow=True).status_code == 200
    assert not ChannelPolicy.objects.filter(pk=populated["channelpolicy"].pk).exists()


@pytest.mark.once
@pytest.mark.parametrize("kind", ANSWERS)
def test_whatever_it_answers(root: Client, populated: Any, process: FakeHookbox, kind: str) -> None:
    process.answer = ANSWERS[kind]
    look_everywhere(root, populated, process)
    post_everywhere(root, populated, process)
    assert len(process.requests) > 20, "pages have asked"


@pytest.mark.once
def test_while_it_is_stopped(root: Client, populated: Any, process: FakeHookbox) -> None:
    process.stop()
    look_everywhere(root, populated)
    post_everywhere(root, populated)


@pytest.mark.once
def test_while_it_is_slow(
    root: Client, populated: Any, process: FakeHookbox, settings: Any
) -> None:
    """Each page waits for it once, for HOOKBOX_TIMEOUT seconds, and continues without it."""
    settings.HOOKBOX_TIMEOUT = 0.2
    woken = threading.Event()

    def hang(request: Request) -> Answer:
        woken.wait(60)
        return Answer()

    process.answer = hang
    try:
        for name, page in pages(populated).items():
            process.requests.clear()
            assert root.get(page).status_code in (200, 302), name
            assert len(process.requests) <= 1, name
    finally:
        woken.set()


# ---- names, payloads, the database -------------------------------------------------------------


#: What is odd in a name.
ODD = ("<b>&amp;\"'", "كلام", "\u202eevil", "\u2028", "{{ x }}{% y %}%s%(z)s", "💬")
#: All of it in a name as long as can be, and, as pages shorten long ones, in a short one.
ODD_NAMES = [
    f"/{'/'.join(ODD)}/".ljust(255, "ÿ"),
    pytest.param(f"/{'/'.join(reversed(ODD))}/", marks=pytest.mark.once),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_all_kinds(root: Client, populated: Any, hookbox: Hookbox, name: str) -> None:
    hookbox.live = {name: 3}
    hookbox.answers["list_connections"] = {
        "total": 1,
        "connections": [{"conn_id": "c1", "transport": "csp", "since": 1e9, "channels": [name]}],
    }
    hookbox.answers["get_channel_info"] = {
        "subscribers": [name], "options": {"history": [name], "state": {name: name}},
    }  # fmt: skip
    policy = populated["channelpolicy"]
    ChannelPolicy.objects.filter(pk=policy.pk).update(name=name[:100], note=name)
    ConnectionLog.objects.update(user_name=name, decided_by=name[:120], reason=name)
    SubscriptionLog.objects.update(user_name=name, channel=name, reason=name)
    Publication.objects.update(
        user_name=name, channel=name, error=name, payload={name: name}, preview=name[:80]
    )
    seen = 0
    looked_at = set()
    for label, page in pages(populated).items():
        looked_at.add(page)
        html = root.get(page, follow=True).content.decode()
        assert "/<b>" not in html, label
        seen += "hookbox" in html
    assert seen > 30
    asked = {"name": name, "user": name, "channel": name, "connection": name, "q": name}
    for route, address in ADDRESSES.items():
        url = url_of(route, populated)
        query = f"?{urlencode(address.query)}" if address.query else ""
        if url + query not in looked_at:
            fetch(root, "get", route, address, populated)
        response = root.get(url, {**address.query, **asked})
        assert response.status_code in (200, 302, 403, 405), route
        content = b"".join(response) if response.streaming else response.content
        if response.headers.get("Content-Type", "").startswith("text/html"):
            assert b"/<b>" not in content, route


def test_a_payload_of_a_megabyte(root: Client, populated: Any, hookbox: Hookbox) -> None:
    payload = {"text": "ä<b>" * 250_000}
    Publication.objects.filter(pk=populated["publication"].pk).update(payload=payload)
    for name in ("publications", "publication", "publish again", "trail of a channel"):
        response = root.get(pages(populated)[name])
        assert response.status_code == 200, name
        assert b"<b>" not in response.content, name
    data = {"channel": "/front/", "payload": json.dumps(payload)}
    again = pages(populated)["publish again"]
    for page in (f"{APP}publishing/", again):
        assert root.post(page, data, follow=True).status_code == 200, page
    assert len(hookbox.published) == 2


def refuse_writing(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Answer as MariaDB does in a transaction that may only read."""
    if sql.split()[0] in ("INSERT", "UPDATE", "DELETE", "REPLACE"):
        raise OperationalError(1792, "Cannot execute statement in a READ ONLY transaction")
    return execute(sql, params, many, context)


@contextmanager
def read_only() -> Iterator[None]:
    """Let the database refuse writing while the block runs."""
    if connection.vendor == "mysql":
        # It changes a transaction's mode only before it begins, and the test is in one.
        with connection.execute_wrapper(refuse_writing):
            yield
    elif connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA query_only = OFF")
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield  # until the transaction of the test ends


def test_a_read_only_database(root: Client, populated: Any, hookbox: Hookbox) -> None:
    """As on a replica, or while somebody repairs it: looking still works."""
    with read_only():
        with pytest.raises(DatabaseError), transaction.atomic():
            User.objects.create(username="nobody")
        for name, page in pages(populated).items():
            assert root.get(page).status_code in (200, 302), name
