"""The webhook `confirm`: which connections must end."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djhookbox.batches import confirming
from djhookbox.batches.confirming import FEW, confirm
from djhookbox.users import identity
from djhookbox.wire.replies import ConfirmReply
from djhookbox.wire.webhooks import Identified

from .conftest import Webhooks

pytestmark = pytest.mark.django_db

STORE = "django.contrib.sessions.backends."


class SessionStore(DatabaseSessions):
    """The store of a site that uses this module as its SESSION_ENGINE."""


class OwnBackend(ModelBackend):
    """A backend that loads users in its own way."""

    def get_user(self, user_id: Any) -> Any:
        user = super().get_user(user_id)
        if user is not None and user.username == "broken":
            raise RuntimeError("the directory does not answer")
        return user


def identified(page: Webhooks, conn_id: str) -> dict[str, str]:
    """Return what the server knows about a page's connection."""
    cookie = "; ".join(f"{name}={each.value}" for name, each in page.client.cookies.items())
    known = {name: page.fields[name] for name in ("user", "identity")}
    return {"conn_id": conn_id, **known, "cookie": cookie}


def with_token(user: Any, conn_id: str) -> dict[str, str]:
    known = identity.token_identity(user)
    return {"conn_id": conn_id, "user": user.username, "identity": known}


def ask(*connections: dict[str, str]) -> dict[str, Any]:
    asked = json.dumps(connections)
    nobody = dict.fromkeys(("conn_id", "user", "identity"))
    success, reply = Webhooks()("confirm", **nobody, connections=asked)
    assert success
    assert reply.pop("answered") == len(connections)
    reply.pop("expires", None)  # see test_expiry
    return reply


@pytest.fixture(params=["db", "cached_db", "cache", "signed_cookies", "own"])
def any_store(request: pytest.FixtureRequest, settings: Any) -> str:
    own = request.param == "own"
    settings.SESSION_ENGINE = __name__ if own else STORE + request.param
    return str(request.param)


def test_what_lives_is_confirmed(any_store: str, alice: Any, make_user: Any) -> None:
    pages = [Webhooks(alice), Webhooks(make_user("bob")), Webhooks()]
    known = [identified(page, f"c{number}") for number, page in enumerate(pages)]
    assert ask(*known, with_token(alice, "t")) == {}


def test_deactivated_by_update(any_store: str, alice: Any, make_user: Any) -> None:
    bob = make_user("bob")
    known = [identified(Webhooks(alice), "a"), identified(Webhooks(bob), "b")]
    known.append(with_token(alice, "t"))
    get_user_model().objects.filter(pk=alice.pk).update(is_active=False)
    assert ask(*known) == {"gone": ["a", "t"]}


def test_an_account_deleted_without_signals(any_store: str, alice: Any) -> None:
    known = identified(Webhooks(alice), "a"), with_token(alice, "t")
    users = get_user_model().objects.filter(pk=alice.pk)
    users._raw_delete(users.db)
    assert ask(*known) == {"gone": ["a", "t"]}


def test_a_password_changed_by_update(any_store: str, alice: Any) -> None:
    known = identified(Webhooks(alice), "a"), with_token(alice, "t")
    get_user_model().objects.filter(pk=alice.pk).update(password="another")
    assert ask(*known) == {"expired": ["a", "t"]}


def test_a_name_changed_by_update(any_store: str, alice: Any) -> None:
    known = identified(Webhooks(alice), "a"), with_token(alice, "t")
    get_user_model().objects.filter(pk=alice.pk).update(username="alicia")
    assert ask(*known) == {"expired": ["a", "t"]}


def test_a_session_that_has_expired(settings: Any, alice: Any, make_user: Any) -> None:
    settings.SESSION_ENGINE = STORE + "db"
    page = Webhooks(alice)
    known = identified(page, "a"), identified(Webhooks(make_user("bob")), "b")
    ago = timezone.now() - datetime.timedelta(seconds=1)
    Session.objects.filter(pk=page.client.session.session_key).update(expire_date=ago)
    assert ask(*known) == {"expired": ["a"]}


def test_a_session_deleted_by_another_program(settings: Any, alice: Any) -> None:
    settings.SESSION_ENGINE = STORE + "db"
    page = Webhooks(alice)
    known = identified(page, "a"), identified(Webhooks(alice), "a2")
    rows = Session.objects.filter(pk=page.client.session.session_key)
    rows._raw_delete(rows.db)
    assert ask(*known) == {"expired": ["a"]}


def test_cookies_of_another_session_confirm_nothing(alice: Any) -> None:
    mine, other = identified(Webhooks(alice), "a"), identified(Webhooks(alice), "b")
    assert ask({**mine, "cookie": other["cookie"]}) == {"expired": ["a"]}
    assert ask({**mine, "cookie": ""}) == {"expired": ["a"]}


def test_a_key_that_no_database_takes_is_not_looked_up(settings: Any, alice: Any) -> None:
    settings.SESSION_ENGINE = STORE + "db"
    known = identified(Webhooks(alice), "a")
    odd = {**identified(Webhooks(alice), "b"), "cookie": r'sessionid="\000aaaaaaaa"'}
    with CaptureQueriesContext(connection) as queries:
        assert ask(known, odd) == {"expired": ["b"]}
    assert not [each for each in queries if "\0" in each["sql"] or "aaaaaaaa" in each["sql"]]


def test_anonymous_visitors_stay_whatever_their_cookies() -> None:
    visitor = identified(Webhooks(), "v")
    assert ask(visitor, {**visitor, "cookie": "sessionid=nonsense"}) == {}


def test_odd_identities_end() -> None:
    odd = ["token:x:y", "token:", "z"]
    asked = [{"conn_id": each, "user": "x", "identity": each} for each in odd]
    assert ask(*asked) == {"gone": ["token:x:y", "token:"], "expired": ["z"]}


def test_a_rotated_secret_key_ends_nothing(settings: Any, alice: Any) -> None:
    settings.SESSION_ENGINE = STORE + "db"
    known = identified(Webhooks(alice), "a"), with_token(alice, "t")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new"
    before = Session.objects.values().get()
    assert ask(*known) == {}
    assert Session.objects.values().get() == before


def test_a_backend_with_its_own_get_user_is_asked(settings: Any, make_user: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OwnBackend"]
    users = {name: make_user(name) for name in ("fine", "off", "changed", "broken")}
    pages = {name: Webhooks(user) for name, user in users.items()}
    known = [identified(page, name) for name, page in pages.items()]
    get_user_model().objects.filter(username="off").update(is_active=False)
    get_user_model().objects.filter(username="changed").update(password="another")
    # None from a backend may mean that it cannot be reached: such a page may try to connect again.
    assert ask(*known) == {"expired": ["off", "changed"]}


def test_asking_costs_a_query_for_each_table_and_writes_nothing(
    settings: Any, make_user: Any, alice: Any
) -> None:
    settings.SESSION_ENGINE = STORE + "db"
    settings.SESSION_SAVE_EVERY_REQUEST = True
    known = [identified(Webhooks(make_user(f"u{n}")), f"c{n}") for n in range(30)]
    before = list(Session.objects.order_by("pk").values())
    assert ask(*known) == {}  # the policies are cached

    def queries(*connections: dict[str, str]) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert ask(*connections) == {}
        return len(captured)

    # Sessions, users, and whether the policies have changed.
    assert queries(*known) == queries(known[0]) <= 3
    assert queries(*known, with_token(alice, "t"), with_token(alice, "u")) == queries(*known) + 1
    assert list(Session.objects.order_by("pk").values()) == before


def test_a_slow_site_answers_as_much_as_it_can(settings: Any, alice: Any) -> None:
    settings.SESSION_ENGINE = __name__
    known = [Identified(**identified(Webhooks(alice), f"c{n}")) for n in range(FEW + 5)]

    def asked(seconds: float) -> ConfirmReply:
        times = iter(range(1000))
        reply = confirm(HttpRequest(), known, seconds, lambda: float(next(times)))
        assert len(reply.expires) == reply.answered
        return replace(reply, expires={})

    assert asked(0.0) == ConfirmReply(1)
    assert asked(FEW + 2.0) == ConfirmReply(FEW + 2)
    assert asked(1000.0) == ConfirmReply(FEW + 5)


def test_a_database_that_fails_confirms_and_ends_nothing(alice: Any) -> None:
    known = json.dumps([identified(Webhooks(alice), "a")])
    with mock.patch.object(confirming, "Sessions", side_effect=OperationalError):
        response = Webhooks().post("confirm", connections=known)
    assert response.status_code == 503
    assert json.loads(response.content)[1]["code"] == "unavailable"


TIMING = "tests.test_batches.Timing"


@pytest.mark.parametrize(
    ("changed", "announced"),
    [
        ({}, True),
        ({"SESSION_SAVE_EVERY_REQUEST": True}, True),
        ({"SESSION_ENGINE": __name__}, True),
        ({"more": [TIMING]}, False),
        ({"more": [TIMING], "HOOKBOX_BATCH_MIDDLEWARE": [TIMING]}, True),
    ],
    ids=["usual", "save", "store", "middleware", "listed"],
)
def test_only_sites_whose_middleware_allows_it_announce_it(
    settings: Any, alice: Any, changed: dict[str, Any], announced: bool
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *changed.get("more", [])]
    for name in changed.keys() - {"more"}:
        setattr(settings, name, changed[name])
    response = Webhooks().post("prune")
    assert ("confirm" in response.headers["X-Hookbox-Accepts"].split(", ")) is announced
    # Without it, nothing ends, even if a server asks that has not noticed the change.
    ended = identified(Webhooks(alice), "a") | {"cookie": ""}
    assert ask(ended) == ({"expired": ["a"]} if announced else {})
