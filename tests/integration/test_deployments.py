"""Common production settings: webhooks work, or a message says what to set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.settings import MIDDLEWARE

from ..stand_ins.client import Refused
from ..stand_ins.waiting import wait_for
from .conftest import Enter, MakePair, entering, started
from .processes import Pair

LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"


@pytest.fixture(scope="module")
def strict(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A site behind a proxy that ends TLS, which trusts nobody."""
    folder = tmp_path_factory.mktemp("strict")
    with started(
        folder,
        migrated,
        headers={"X-Forwarded-Proto": "https", "Host": "example.com"},
        ATOMIC_REQUESTS=True,
        DATABASE_OPTIONS={"transaction_mode": "IMMEDIATE"},
        MIDDLEWARE=[*MIDDLEWARE, LOGIN_REQUIRED],
        SECURE_SSL_REDIRECT=True,
        SECURE_PROXY_SSL_HEADER=["HTTP_X_FORWARDED_PROTO", "https"],
        ALLOWED_HOSTS=["example.com", "127.0.0.1"],
        HOOKBOX_ALLOWED_ORIGINS=["https://example.com"],
        HOOKBOX_ANONYMOUS=False,
        HOOKBOX_PUBLIC_URL="https://example.com/realtime",
        SESSION_COOKIE_SECURE=True,
    ) as pair:
        pair.site.pages = "https://example.com"
        yield pair


@pytest.fixture
def enter(strict: Pair) -> Iterator[Enter]:
    with ExitStack() as stack:
        yield entering(strict, stack)


def test_webhooks_work_on_a_strict_site(strict: Pair, enter: Enter, word: str) -> None:
    assert strict.site.do("checks") == []
    strict.site.do("policy", f"/{word}/", publish_audience="signed_in")
    alice, bob = enter(f"alice{word}"), enter(f"bob{word}")
    alice.subscribe(f"/{word}/")
    bob.subscribe(f"/{word}/")
    alice.publish(f"/{word}/", "hello")
    assert bob.expect("PUBLISH")["payload"] == "hello"
    alice.socket.close()
    strict.site.rows("ConnectionLog", 1, user_name=alice.name, event="disconnect")
    strict.site.rows("Publication", 1, channel=f"/{word}/", delivered=2)
    strict.site.do("policy", f"/{word}/", subscribe_audience="staff")
    bob.expect("UNSUBSCRIBE", patience=1.0, channel_name=f"/{word}/")
    assert "does not answer" not in strict.hookbox.log()


def test_visitors_are_turned_away_where_they_may_not_connect(strict: Pair, enter: Enter) -> None:
    with pytest.raises(Refused) as refusal:
        enter()
    assert refusal.value.msg == "Only signed-in users may connect."
    (row, *_others) = strict.site.rows("ConnectionLog", 1, event="refused")
    assert row["reason"] == refusal.value.msg


#: Settings, the check that finds them, and what runhookbox must say.
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "SECURE_SSL_REDIRECT": (
        {"SECURE_SSL_REDIRECT": True},
        "djhookbox.W005",
        "SECURE_REDIRECT_EXEMPT",
    ),
    "ALLOWED_HOSTS": ({"ALLOWED_HOSTS": ["example.com"]}, "djhookbox.W004", "ALLOWED_HOSTS"),
    "wrong path": ({"HOOKBOX_CBPATH": "/elsewhere"}, "djhookbox.W003", "HOOKBOX_CBPATH"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said(wrong: tuple[dict[str, Any], str, str], make_pair: MakePair) -> None:
    settings, check, words = wrong
    pair = make_pair(**settings)
    found = pair.manage("check", "--tag", "djhookbox")
    assert check in found.stderr
    assert words in found.stderr
    pair.site.run()
    pair.hookbox.run()
    wait_for(lambda: words in pair.hookbox.log(), f"{words} in {pair.hookbox.log()}", 10)


def test_runhookbox_says_when_django_does_not_run_and_when_it_does(make_pair: MakePair) -> None:
    pair = make_pair()
    pair.hookbox.run()
    hookbox = pair.hookbox
    wait_for(lambda: "Is it running? Retrying." in hookbox.log(), "the first sentence", 10)
    pair.site.run()
    wait_for(lambda: "Django is answering now." in hookbox.log(), "the second sentence", 15)
    with ExitStack() as stack:
        assert entering(pair, stack)("alice").name == "alice"


def test_runhookbox_says_that_the_secret_is_wrong(make_pair: MakePair) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.set(HOOKBOX_WEBHOOK_SECRET="another secret, long enough")
    pair.hookbox.run()
    wait_for(
        lambda: "HOOKBOX_WEBHOOK_SECRET, or SECRET_KEY if it is not set" in pair.hookbox.log(),
        "what is wrong",
        10,
    )
    with ExitStack() as stack, pytest.raises(Refused) as refusal:
        entering(pair, stack)("alice")
    assert refusal.value.code == "unavailable"
