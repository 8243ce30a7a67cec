"""What the tests of the admin share: users, and a stand-in for the process."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, Permission, User
from django.test import Client

from djhookbox._version import __version__
from djhookbox.exceptions import HookboxNotRunning
from djhookbox.wire.answers import (
    ChannelList,
    ListedChannel,
    Published,
    Revoked,
    ServerInfo,
)
from djhookbox.wire.records import read, write

APP = "/admin/djhookbox/"
VIEWS = ("channelpolicy", "connectionlog", "subscriptionlog", "publication", "server")

#: What no real name should be, but some are.
NASTY = ("/<b>&amp;\"'/", "/كلام/" + "\u202e" + "evil/", "/💬/" + "x" * 251)

#: What the process says of itself when it is asked for all.
REPORT: dict[str, Any] = {
    "messages_in_per_second": 87.04,
    "messages_out_per_second": 4120,
    "webhooks": {"total": 900, "failed": 3, "p95_ms": 23.4},
    "rates": {"step": 10, "in": [0, 2.5, 1.24], "out": []},
    "channel_list": {
        "total": 342,
        "listed": [
            {"name": "/chat/a/", "subscribers": 120, "history": 20, "rate": 3.14},
            *({"name": name, "subscribers": 1, "history": 0, "rate": 0} for name in NASTY),
        ],
    },
    "connection_list": {
        "total": 1,
        "listed": [
            {"id": "c" * 32, "user": "alice", "transport": "websocket", "since": 1.3e9,
             "channels": 4},
        ],
    },
}  # fmt: skip


class Hookbox:
    """Stands in for the process: records each REST call, and gives the answers that a test sets."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.running = True
        self.delivered = 2
        self.connections = 5
        #: Live channels, and how many connections each has.
        self.live: dict[str, int] = {}
        #: What a call gets in the place of what the process would say; an exception is raised.
        self.answers: dict[str, dict[str, Any] | Exception] = {}

    def __call__(
        self, call: str, seconds: float | None = None, base: str = "", /, **form: Any
    ) -> dict[str, Any]:
        self.calls.append((call, form))
        if not self.running:
            raise HookboxNotRunning("The Hookbox process cannot be reached.", code="unavailable")
        if call == "publish":
            return write(Published(delivered=self.delivered))
        if call in self.answers:
            answer = self.answers[call]
            if isinstance(answer, Exception):
                raise answer
            return answer
        if call == "list_channels":
            return self._list(**form)
        if call == "revoke":
            return write(Revoked(disconnected=0, channels=1, connections=4))
        info = replace(
            read(ServerInfo, REPORT), version=__version__, pid=4121, uptime=273_125.5,
            engine="memory", connections=self.connections, users=4, channels=3,
        )  # fmt: skip
        return write(info)

    def _list(
        self, prefix: str = "", limit: str = "100", patterns: str | None = None
    ) -> dict[str, Any]:
        found = [
            ListedChannel(name, subscribers=count, connections=count)
            for name, count in sorted(self.live.items(), key=lambda item: -item[1])
            if name.startswith(prefix)
            and (patterns is None or any(re.fullmatch(p, name) for p in json.loads(patterns)))
        ]
        return write(ChannelList(len(found), tuple(found[: int(limit)])))

    @property
    def published(self) -> list[tuple[str, str]]:
        return [(f["channel_name"], f["payload"]) for call, f in self.calls if call == "publish"]


def person(name: str, *permissions: str, staff: bool = True) -> User:
    user = User.objects.create_user(name, password="x", is_staff=staff)
    for permission in permissions:
        user.user_permissions.add(
            Permission.objects.get(codename=permission, content_type__app_label="djhookbox")
        )
    return user


def signed_in(user: AbstractBaseUser) -> Client:
    client = Client()
    client.force_login(user)
    return client


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]
