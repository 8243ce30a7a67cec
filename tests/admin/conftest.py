"""The fixtures of the admin's tests: rows, users with different rights, and no real process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from djhookbox.client import calls as rest
from djhookbox.models import ChannelPolicy, ConnectionLog, Publication, SubscriptionLog

from .catalogue import populate
from .stand_in import VIEWS, Hookbox, person, signed_in


@pytest.fixture(autouse=True)
def hookbox(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Hookbox:
    settings.HOOKBOX_RUN_DIR = tmp_path / "run"
    stand_in = Hookbox()
    monkeypatch.setattr(rest, "rest_call", stand_in)
    return stand_in


@pytest.fixture
def rows(db: None) -> dict[str, Any]:
    policy = ChannelPolicy.objects.create(name="News", pattern="/news/<slug:topic>/", order=10)
    ChannelPolicy.objects.create(name="Front", pattern="/front/", order=20, history_size=3)
    return {
        "channelpolicy": policy,
        "connectionlog": ConnectionLog.objects.create(event="connect", user_name="alice", ip="::1"),
        "subscriptionlog": SubscriptionLog.objects.create(
            event="refused", user_name="alice", channel="/front/", reason="No."
        ),
        "publication": Publication.objects.create(
            channel="/front/", payload={"text": "Grüße <b>"}, source="code", status="failed",
            user_name="alice", error="It was down.",
        ),
    }  # fmt: skip


@pytest.fixture
def populated(db: None) -> dict[str, Any]:
    """Return one row of each kind, among others: what `catalogue.pages` is about."""
    return populate()


@pytest.fixture
def root(db: None) -> Client:
    return signed_in(User.objects.create_superuser("root", password="x"))


@pytest.fixture
def viewer(db: None) -> Client:
    return signed_in(person("viewer", *(f"view_{name}" for name in VIEWS)))


@pytest.fixture
def staff(db: None) -> Client:
    return signed_in(person("staff"))


@pytest.fixture
def stranger(db: None) -> Client:
    return signed_in(person("stranger", staff=False))
