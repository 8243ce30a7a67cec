"""All rows and pages of our part of the admin, and the rights that they need.

`PAGES` are what people look at; `ADDRESSES` are all routes, with who may use them. Tests walk one
or the other, so that a page that is added is seen by all of them.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.utils import timezone

from djhookbox.measurements.recording import KEPT, moment
from djhookbox.models import (
    Ban,
    ChannelPolicy,
    ConnectionLog,
    Measurement,
    Publication,
    SubscriptionLog,
)
from djhookbox.outbox.models import Outbox

from .stand_in import APP

CONNECTION = "9f3c" * 8


def populate() -> dict[str, Any]:
    """Create rows, and return one of each model by its name."""
    policy = ChannelPolicy.objects.create(name="News", pattern="/news/<slug:topic>/", order=10)
    ChannelPolicy.objects.create(
        name="Front", pattern="/front/", order=20, history_size=3, subscribe_audience="everyone"
    )
    who = {"user_name": "alice", "connection_id": CONNECTION}
    refusal = {"decided_by": "policy:Front", "reason": "No."}
    entry = ConnectionLog.objects.create(event="connect", transport="websocket", ip="::1", **who)
    ConnectionLog.objects.create(
        event="disconnect", code=1001, duration=datetime.timedelta(hours=30, seconds=8), **who
    )
    ConnectionLog.objects.create(event="refused", user_name=" _visitor", ip="10.0.0.4", **refusal)
    SubscriptionLog.objects.create(event="subscribe", channel="/news/today/", **who)
    Outbox.objects.create(
        channel="/front/", payload="1", source="code", opened_by="policy:Front", failed=True,
        error="No.",
    )  # fmt: skip
    measure()
    now = timezone.now()
    ban = Ban.objects.create(
        kind="user", value="mallory", reason="Spam.", created_by="root",
        until=now + datetime.timedelta(minutes=10),
    )  # fmt: skip
    Ban.objects.create(kind="address", value="192.0.2.0/24", created_by="root", lifted=now)
    Ban.objects.create(kind="session", value=f"session:{'0f' * 32}", about="bob", until=now)
    failed = {"status": "failed", "error": "It was down."}
    return {
        "channelpolicy": policy,
        "ban": ban,
        "connectionlog": entry,
        "subscriptionlog": SubscriptionLog.objects.create(
            event="refused", channel="/front/", **who, **refusal
        ),
        "masked": Publication.objects.create(
            channel="/front/", payload={"token": "•"}, kept="masked", source="rest", status="sent",
            delivered=3,
        ),
        "publication": Publication.objects.create(
            channel="/front/", payload={"text": "Grüße <b>"}, source="code", **who, **failed
        ),
    }  # fmt: skip


#: What `measure` has executed, with parameters, and in which minute. Until that is over, it need
#: not create any objects.
_statements: list[tuple[str, Any]] = []
_minute = 0.0


def measure() -> None:
    """Create what a process has counted in a month; it was not running for some time."""

    def note(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        _statements.append((sql, params))
        return execute(sql, params, many, context)

    global _minute
    if _minute == (minute := time.time() // 60):
        with connection.cursor() as cursor:
            for statement in _statements:
                cursor.execute(*statement)
        return
    _statements.clear()
    with connection.execute_wrapper(note):
        count_a_month()
    _minute = minute


def count_a_month() -> None:
    now = timezone.now()
    for step, kept in KEPT.items():
        rows = []
        for index in range(int(min(kept, datetime.timedelta(days=30)).total_seconds()) // step):
            begin = now.timestamp() - now.timestamp() % step - step * (index + 1)
            if 20 < index < 24:
                continue
            wave = 1 + math.sin(begin / 20_000)
            late = index % 7 == 0
            rows.append(
                Measurement(
                    node="host:8001", step=step, covered=step, begin=moment(begin),
                    connections=int(200 * wave) + index % 5, users=int(150 * wave), channels=40,
                    messages_in=int(step * 8 * wave), messages_out=int(step * 90 * wave),
                    closed={"1001": int(step * wave / 10), "4006": int(late)},
                    refusals={"subscribe": index % 3, "connect": int(late)},
                    webhooks={
                        "connect": {"answered": [5, 9, 9, 4, 2, 1, 0, 0, 0, 0, 0, 0]},
                        "subscribe": {
                            "answered": [2, 9, 3, 0, 0, int(9 * wave), 0, 0, 0, 0, 0, 0],
                            "failed": [0] * 11 + [int(late)],
                        },
                    },
                )
            )  # fmt: skip
        Measurement.objects.bulk_create(rows)


#: What people look at, by name. `{…}` is the key of a row, as `populate` names it.
PAGES: dict[str, tuple[str, dict[str, object]]] = {
    "server": ("server/", {}),
    "server: search": ("server/", {"channel": "a", "user": "b"}),
    "server: restart": ("server/restart/", {}),
    "server: stop": ("server/stop/", {}),
    "charts": ("server/charts/", {}),
    "charts: day": ("server/charts/", {"period": "day", "table": "durations"}),
    "charts: week": ("server/charts/", {"period": "week", "webhook": "subscribe"}),
    "charts: month": ("server/charts/", {"period": "month", "table": "closed"}),
    "channel": ("server/channel/", {"name": "/front/"}),
    "user": ("server/user/", {"name": "alice"}),
    "disconnect user": ("server/disconnect/", {"user": "alice"}),
    "disconnect one": ("server/disconnect/", {"user": "alice", "connection": CONNECTION}),
    "unsubscribe": ("server/unsubscribe/", {"user": "alice", "channel": "/front/"}),
    "outbox": ("server/outbox/", {}),
    "outbox: try again": ("server/outbox/try-again/", {"all": "1"}),
    "outbox: discard": ("server/outbox/discard/", {"all": "1"}),
    "bans": ("ban/", {}),
    "bans: no match": ("ban/", {"q": "nobody"}),
    "ban": ("ban/{ban}/change/", {}),
    "ban: add": ("ban/add/", {"kind": "address", "value": "10.0.0.4", "minutes": ""}),
    "ban: delete": ("ban/{ban}/delete/", {}),
    "ban: history": ("ban/{ban}/history/", {}),
    "policies": ("channelpolicy/", {}),
    "policies: filtered": ("channelpolicy/", {"enabled__exact": "1"}),
    "policies: no match": ("channelpolicy/", {"q": "nobody"}),
    "policy": ("channelpolicy/{channelpolicy}/change/", {}),
    "policy: add": ("channelpolicy/add/", {}),
    "policy: delete": ("channelpolicy/{channelpolicy}/delete/", {}),
    "policy: history": ("channelpolicy/{channelpolicy}/history/", {}),
    "try": ("channelpolicy/try/", {}),
    "try: allowed": ("channelpolicy/try/", {"channel": "/front/"}),
    "try: refused": (
        "channelpolicy/try/",
        {"user": "", "channel": "/news/today/", "operation": "publish", "payload": "1"},
    ),
    "try: mistaken": ("channelpolicy/try/", {"user": "nobody", "channel": "", "payload": "["}),
    "import": ("channelpolicy/import/", {}),
    "publish": ("publishing/", {}),
    "publish: channel": ("publishing/", {"channel": "/front/"}),
    "publish: policy": ("publishing/", {"policy": "{channelpolicy}"}),
    "publish: channels": ("publishing/", {"channel": ["/front/", "/news/today/"]}),
    "publications": ("publication/", {}),
    "publications: no match": ("publication/", {"q": "nobody"}),
    "publication": ("publication/{publication}/change/", {}),
    "publication: masked": ("publication/{masked}/change/", {}),
    "publication: delete": ("publication/{publication}/delete/", {}),
    "publication: history": ("publication/{publication}/history/", {}),
    "publish again": ("publication/{publication}/publish-again/", {}),
    "connections": ("connectionlog/", {}),
    "connections: period": ("connectionlog/", {"from": "2020-01-01", "until": "2099-12-31"}),
    "connection": ("connectionlog/{connectionlog}/change/", {}),
    "erase": ("connectionlog/erase/", {}),
    "erase somebody": ("connectionlog/erase/", {"user": "alice"}),
    "connection: delete": ("connectionlog/{connectionlog}/delete/", {}),
    "subscriptions": ("subscriptionlog/", {}),
    "subscriptions: filtered": ("subscriptionlog/", {"event": "refused", "q": "alice"}),
    "subscription": ("subscriptionlog/{subscriptionlog}/change/", {}),
    "refusals": ("refusals/", {}),
    "refusals: filtered": (
        "refusals/",
        {"q": "alice", "from": "2020-01-01", "kind": ["subscribe", "publish"]},
    ),
    "refusals: one reason": (
        "refusals/",
        {"kind": "subscribe", "by": "policy:Front", "reason": "No."},
    ),
    "refusals: no match": ("refusals/", {"q": "nobody"}),
    "trail of a user": ("connectionlog/trail/", {"user": "alice"}),
    "trail of a channel": ("publication/trail/", {"channel": "/front/"}),
    "trail of a connection": ("subscriptionlog/trail/", {"connection": CONNECTION}),
}

#: Without rows.
EMPTY = (
    "server",
    "charts",
    "outbox",
    "bans",
    "policies",
    "try",
    "publish",
    "publications",
    "connections",
    "subscriptions",
    "refusals",
)


def pages(rows: dict[str, Any], root: str = APP) -> dict[str, str]:
    """Return the address of each page, by its name."""
    keys = {name: str(row.pk) for name, row in rows.items()}

    def filled(value: object) -> object:
        return value.format_map(keys) if isinstance(value, str) else value

    return {
        name: root
        + path.format_map(keys)
        + (f"?{urlencode({k: filled(v) for k, v in query.items()}, doseq=True)}" if query else "")
        for name, (path, query) in PAGES.items()
    }


# ---- who may -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """A route: who may ask for it and who may post to it, and what they get.

    Rights are written “a and b or c”; "staff" is whoever may enter the admin, "nobody" nobody.
    """

    gets: str
    answer: int = 200
    posts: str = ""
    posted: int = 200
    query: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)


def _stock(model: str, *, add: str, valid: dict[str, str]) -> dict[str, Address]:
    """Return the routes of every `ModelAdmin`."""
    reads = f"view_{model} or change_{model}"
    return {
        f"{model}/": Address(reads),
        f"{model}/add/": Address(add),
        f"{model}/<path:object_id>/": Address("staff", 302),
        f"{model}/<path:object_id>/change/": Address(
            reads, posts=f"change_{model}", posted=302, data=valid
        ),
        f"{model}/<path:object_id>/delete/": Address(
            f"delete_{model}", posted=302, data={"post": "yes"}
        ),
        f"{model}/<path:object_id>/history/": Address(reads),
    }


def _log(model: str) -> dict[str, Address]:
    reads = f"view_{model} or change_{model}"
    exports = f"export_log and view_{model} or export_log and change_{model}"
    return {
        **_stock(model, add="nobody", valid={"note": "Looked at."}),
        f"{model}/export/": Address(exports),
        f"{model}/export/lines/": Address(exports),
        f"{model}/trail/": Address(reads, query={"user": "alice"}),
    }


_SEES_SERVER = "view_server or control_server or disconnect_user"


def _and_sees_server(right: str) -> str:
    return " or ".join(f"{right} and {one}" for one in _SEES_SERVER.split(" or "))


_REFUSALS = " or ".join(
    f"{action}_{model}"
    for model in ("connectionlog", "subscriptionlog", "publication")
    for action in ("view", "change")
)
_REFUSALS_FILE = " or ".join(f"export_log and {one}" for one in _REFUSALS.split(" or "))

_AGAIN = "publish_message and view_payload and"
_WHO = {"user": "alice", "channel": "/front/"}
_READS = "view_channelpolicy or change_channelpolicy"
_POLICY = {
    "name": "News", "pattern": "/news/<slug:topic>/", "order": "10", "history_size": "5",
    "history_duration": "300", "create_audience": "everyone", "subscribe_audience": "staff",
    "publish_audience": "staff", "state": "{}", "polling": "{}", "server_user_presence": "[]",
}  # fmt: skip

ADDRESSES: dict[str, Address] = {
    "server/": Address(_SEES_SERVER),
    "server/live/": Address(_SEES_SERVER),
    "server/charts/": Address(_SEES_SERVER),
    "server/channel/": Address(_SEES_SERVER, query={"name": "/front/"}),
    "server/channel/state/": Address(
        "publish_message and view_payload",
        302,
        posted=302,
        data={"name": "/front/", "key": "topic", "value": "1"},
    ),
    "server/channel/tail/": Address(_SEES_SERVER, query={"name": "/front/"}),
    "server/user/": Address(_SEES_SERVER, query={"name": "alice"}),
    "server/start/": Address("control_server", 302, posted=302),
    "server/stop/": Address("control_server", posted=302),
    "server/restart/": Address("control_server", posted=302),
    "server/disconnect/": Address("disconnect_user", posted=302, query={"user": "alice"}),
    "server/unsubscribe/": Address("disconnect_user", posted=302, query=_WHO),
    "server/outbox/": Address(_SEES_SERVER, posted=405),
    "server/outbox/try-again/": Address(
        _and_sees_server("publish_message"), query={"all": "1"}, posted=302
    ),
    "server/outbox/discard/": Address(
        _and_sees_server("delete_publication"), query={"all": "1"}, posted=302
    ),
    "server/subscribe/": Address(
        "subscribe_user", 302, posted=302, data={"user": "alice", "channel": "/front/"}
    ),
    **_stock("ban", add="add_ban", valid={"until_0": "", "until_1": "", "note": "Enough."}),
    **_stock("channelpolicy", add="add_channelpolicy", valid=_POLICY),
    "channelpolicy/try/": Address(_READS, posted=405, query={"channel": "/front/"}),
    "channelpolicy/try/users/": Address(
        "auth.view_user and view_channelpolicy or auth.view_user and change_channelpolicy"
    ),
    "channelpolicy/export/": Address(_READS),
    "channelpolicy/import/": Address("add_channelpolicy and change_channelpolicy"),
    "channelpolicy/move/": Address("change_channelpolicy", 302, posted=302),
    "channelpolicy/preview/": Address(f"{_READS} or add_channelpolicy"),
    **_log("connectionlog"),
    "connectionlog/erase/": Address(
        "erase_person", query={"user": "carol"}, posted=302, data={"user": "carol"}
    ),
    **_log("subscriptionlog"),
    **_log("publication"),
    "publication/publish/": Address("publish_message", 302, posted=302),
    "publication/<path:object_id>/publish-again/": Address(
        f"{_AGAIN} view_publication or {_AGAIN} change_publication",
        posted=302,
        data={"channel": "/front/", "payload": "1"},
    ),
    "refusals/": Address(_REFUSALS),
    "refusals/export/": Address(_REFUSALS_FILE),
    "refusals/export/lines/": Address(_REFUSALS_FILE),
    "publishing/": Address(
        "publish_message", posted=302, data={"channel": "/front/", "payload": "1"}
    ),
    "publishing/channels/": Address("publish_message"),
    "publishing/audience/": Address("publish_message", query={"channel": "/front/"}),
}
