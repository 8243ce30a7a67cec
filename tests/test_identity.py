from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core import signing
from django.test import RequestFactory

import djhookbox
from djhookbox.users import identity
from djhookbox.users.identity import IdentityError, identify, verify

pytestmark = pytest.mark.django_db


class Session:
    def __init__(self, key: str | None) -> None:
        self.session_key = key


def request(user: Any = None, key: str | None = None) -> Any:
    made: Any = RequestFactory().post("/hookbox/connect")
    made.user = user or AnonymousUser()
    made.session = Session(key)
    return made


def test_a_session_names_its_user(alice: Any) -> None:
    visitor = identify(request(alice, "k1"))
    assert (visitor.user, visitor.name) == (alice, "alice")
    assert re.fullmatch("session:[0-9a-f]{64}", visitor.identity)
    assert "k1" not in visitor.identity
    assert visitor.identity == identity.session_identity("k1")
    assert visitor.identity != identity.session_identity("k2")


def test_a_user_without_a_session_hangs_on_the_password(alice: Any) -> None:
    """Known by a proxy's header, for example."""
    visitor = identify(request(alice))
    assert visitor.identity == identity.token_identity(alice)
    assert verify(request(), visitor.identity, "alice") == alice


def test_every_visitor_has_a_name_of_their_own() -> None:
    first, second = identify(request()), identify(request())
    assert first.name != second.name
    for visitor in (first, second):
        assert re.fullmatch(r" _[A-Za-z0-9_-]{12}", visitor.name)
        assert visitor.identity == "anonymous"
        assert not visitor.user.is_authenticated


def test_a_signed_id_keeps_a_visitors_name(alice: Any) -> None:
    token = identity.issue_anonymous_id()
    first = identify(request(), token)
    assert identify(request(), token).name == first.name == identity.read_anonymous_id(token)
    assert re.fullmatch(r" _[A-Za-z0-9_-]{12}", first.name)
    assert identify(request(alice, "k"), token).name == "alice"
    assert identity.read_anonymous_id(token + "x") is None
    with pytest.raises(IdentityError):
        identify(request(), "X" + token)


def test_anonymous_visitors_may_be_kept_out(settings: Any, alice: Any) -> None:
    settings.HOOKBOX_ANONYMOUS = False
    for token in ("", identity.issue_anonymous_id()):
        with pytest.raises(IdentityError, match="signed-in") as caught:
            identify(request(), token)
        assert caught.value.code == "refused"
    assert identify(request(alice, "k")).name == "alice"


@pytest.mark.parametrize("name", [" _bob", "a\nb", "x" * 256, ""])
def test_account_names_that_cannot_connect(name: str) -> None:
    with pytest.raises(IdentityError):
        identify(request(get_user_model()(username=name), "k"))


def test_only_as_the_expected_user(alice: Any) -> None:
    assert identify(request(alice, "k"), expected="alice").name == "alice"
    for odd in (request(), request(alice, "k")):
        with pytest.raises(IdentityError) as caught:
            identify(odd, expected="bob")
        assert caught.value.code == "session_expired"


# ---- tokens


def test_a_token_connects_without_cookies(alice: Any, make_user: Any) -> None:
    token = djhookbox.connect_token(alice)
    visitor = identify(request(), token, conn_id="a")
    assert (visitor.user, visitor.name) == (alice, "alice")
    assert re.fullmatch(rf"token:{alice.pk}:[0-9a-f]{{16}}", visitor.identity)
    # A token takes precedence over the cookies that a shared client may have.
    assert identify(request(make_user("bob"), "k"), token, conn_id="a").name == "alice"
    assert verify(request(), visitor.identity, "alice") == alice
    assert verify(request(), visitor.identity, "bob") is None


def test_a_token_is_good_for_one_connection(alice: Any) -> None:
    token = djhookbox.connect_token(alice)
    assert identify(request(), token, conn_id="a").single_use
    identify(request(), token, conn_id="a")  # the answer to the webhook was lost
    for stranger in ("b", ""):
        with pytest.raises(IdentityError, match="already") as refusal:
            identify(request(), token, conn_id=stranger)
        assert refusal.value.code == "session_expired"


def test_two_tokens_of_one_second_differ(alice: Any) -> None:
    tokens = [djhookbox.connect_token(alice) for _ in range(3)]
    assert [identify(request(), token).name for token in tokens] == ["alice"] * 3


def test_the_id_of_an_anonymous_visitor_may_be_used_again() -> None:
    token = identity.issue_anonymous_id()
    assert not identify(request(), token, conn_id="a").single_use
    identify(request(), token, conn_id="b")


def test_tokens_run_out(alice: Any, settings: Any) -> None:
    token = djhookbox.connect_token(alice)
    settings.HOOKBOX_TOKEN_MAX_AGE = 0.000_001
    with pytest.raises(IdentityError, match="expired") as caught:
        identify(request(), token)
    assert caught.value.code == "session_expired"


def test_forged_tokens(alice: Any) -> None:
    for forged in (
        "x", "a:b:c", djhookbox.connect_token(alice)[:-1],
        signing.dumps([alice.pk, "x"], salt="another"),
        signing.dumps([str(alice.pk), "x"], salt="djhookbox.token"),
        signing.dumps(["no number", "x"], salt="djhookbox.token"),
        signing.dumps(["999999", "x"], salt="djhookbox.token"),
        signing.dumps(5, salt="djhookbox.token"),
    ):  # fmt: skip
        with pytest.raises(IdentityError):
            identify(request(), forged)


def test_a_token_ends_with_the_password_and_the_account(alice: Any) -> None:
    token = djhookbox.connect_token(alice)
    known = identify(request(), token).identity
    alice.is_active = False
    alice.save()
    assert verify(request(), known, "alice") is None
    alice.is_active = True
    alice.set_password("changed")
    alice.save()
    assert verify(request(), known, "alice") is None
    with pytest.raises(IdentityError):
        identify(request(), token)
    token = djhookbox.connect_token(alice)
    known = identify(request(), token).identity
    alice.delete()
    assert verify(request(), known, "alice") is None
    with pytest.raises(IdentityError):
        identify(request(), token)


def test_a_token_outlives_a_rotated_secret_key(alice: Any, settings: Any) -> None:
    token, known = djhookbox.connect_token(alice), identity.token_identity(alice)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new one"
    assert identify(request(), token).name == "alice"
    assert verify(request(), known, "alice") == alice
    settings.SECRET_KEY_FALLBACKS = []
    assert verify(request(), known, "alice") is None


def test_who_cannot_be_given_a_token(alice: Any) -> None:
    alice.is_active = False
    for user in (AnonymousUser(), alice):
        with pytest.raises(ValueError, match="active"):
            djhookbox.connect_token(user)


# ---- later webhooks


def test_a_session_that_ended_is_not_anonymous(alice: Any, make_user: Any) -> None:
    bob = make_user("bob")
    known = identity.session_identity("k1")
    assert verify(request(alice, "k1"), known, "alice") == alice
    for odd in (
        request(),
        request(key="k1"),
        request(alice, "k2"),
        request(alice),
        request(bob, "k1"),
    ):
        assert verify(odd, known, "alice") is None
    assert verify(request(alice, "k1"), known, "") is None
    alice.is_active = False
    assert verify(request(alice, "k1"), known, "alice") is None


def test_a_visitor_stays_anonymous_whatever_the_cookie(alice: Any) -> None:
    found = verify(request(alice, "k"), "anonymous", " _x")
    assert found is not None
    assert not found.is_authenticated


@pytest.mark.parametrize("odd", ["admin", "token:", "token:1", "token:x:y", "session:", "sessions"])
def test_identities_that_are_none(odd: str, alice: Any) -> None:
    assert verify(request(alice, "k"), odd, "alice") is None


def test_the_genuine_server_says_only_the_name(alice: Any) -> None:
    assert verify(request(alice, "k"), "", "alice") == alice
    assert verify(request(alice, "k"), "", "") == alice
    assert verify(request(alice, "k"), "", "bob") is None
    assert verify(request(), "", "alice") is None
    assert verify(request(alice, "k"), "", " _x") is None
    for name in ("", " _x"):
        found = verify(request(), "", name)
        assert found is not None
        assert not found.is_authenticated


def test_leaving_users_by_name(alice: Any) -> None:
    assert identity.by_name("alice") == alice
    for name in ("Alice", "", " _x", "nobody"):
        assert not identity.by_name(name).is_authenticated
