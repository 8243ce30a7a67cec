"""The page of all refusals: its counts, its rows from three logs, its filters and its files."""

from __future__ import annotations

import csv
import datetime
import html
import json
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djhookbox.admin.logs import leading
from djhookbox.admin.logs.exports import BOM
from djhookbox.admin.refusals import reading
from djhookbox.models import ConnectionLog, Publication, SubscriptionLog

from .stand_in import APP, signed_in

PAGE = f"{APP}refusals/"


def refuse(kind: str, seconds: float = 0, **fields: Any) -> Any:
    """Record a refusal that happened so many seconds ago."""
    values: dict[str, Any] = {
        "user_name": "alice",
        "decided_by": "policy:Front",
        "reason": "Only staff may do this here.",
        "created": timezone.now() - datetime.timedelta(seconds=seconds),
        **fields,
    }
    if kind == "connect":
        return ConnectionLog.objects.create(event="refused", ip="10.0.0.4", **values)
    values.setdefault("channel", "/front/")
    if kind == "publish":
        values = {"source": "client", "payload": {"secret": 1}, "preview": "secret", **values}
        return Publication.objects.create(status="refused", **values)
    event = "create_refused" if kind == "create" else "refused"
    return SubscriptionLog.objects.create(event=event, **values)


@pytest.fixture
def refused(db: None) -> None:
    ConnectionLog.objects.create(event="connect", user_name="zoe")
    SubscriptionLog.objects.create(event="subscribe", user_name="zoe", channel="/front/")
    Publication.objects.create(status="sent", user_name="zoe", channel="/front/", source="code")
    for seconds, kind in enumerate(("connect", "create", "subscribe", "publish", "subscribe")):
        refuse(kind, seconds)
    refuse("subscribe", 90_000, user_name="bob", reason="Not yours.", channel="/rooms/7/")


def text_of(page: Any) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.content.decode())).split())


def shown(page: Any) -> list[tuple[str, str]]:
    found = page.context["happenings"]
    return [
        (str(row["kind"]), re.sub(r"<[^>]+>|☰", "", str(row["user"])).strip()) for row in found
    ]


def address(page: Any, kind: str) -> str:
    found = re.search(rf'href="([^"]*)" class="hookbox-{kind}"', page.content.decode())
    assert found, kind
    return PAGE + html.unescape(found[1]).removeprefix(PAGE)


def test_refusals_of_all_logs_are_one_list(root: Client, refused: None) -> None:
    page = root.get(PAGE)
    assert shown(page) == [
        ("Connection", "alice"), ("Channel creation", "alice"), ("Subscription", "alice"),
        ("Publication", "alice"), ("Subscription", "alice"), ("Subscription", "bob"),
    ]  # fmt: skip
    assert "zoe" not in text_of(page)
    text = text_of(page)
    assert "2 times Subscription policy:Front : Only staff may do this here." in text
    assert "1 time Subscription policy:Front : Not yours. · Check this again" in text
    # Each that can be tried leads there with what was refused.
    again = "channelpolicy/try/?user=bob&channel=%2Frooms%2F7%2F&operation=subscribe"
    assert html.unescape(page.content.decode()).count(again) == 2
    assert "secret" not in text


def test_a_reason_leads_to_its_rows(root: Client, refused: None) -> None:
    page = root.get(PAGE)
    reason = next(one for one in page.context["reasons"] if "Not yours" in str(one["decision"]))
    page = root.get(PAGE + str(reason["url"]))
    assert shown(page) == [("Subscription", "bob")]
    assert "Only: policy:Front: Not yours. Show all reasons" in text_of(page)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?q=bob", 1), ("?q=alice", 5), ("?q=/rooms/*", 1), ("?q=/front/", 4), ("?q=nobody", 0),
        ("?kind=subscribe", 3), ("?kind=subscribe&kind=publish", 4), ("?kind=unknown", 6),
        ("?from=2020-01-01", 6), ("?until=2020-01-01", 0), ("?by=policy:Front&q=alice", 5),
        ("?reason=", 0), ("?q=alice%00", 5),
    ],
)  # fmt: skip
def test_filters_combine(root: Client, refused: None, query: str, count: int) -> None:
    assert len(shown(root.get(PAGE + query))) == count


def test_mistaken_parameters_are_named(root: Client, refused: None) -> None:
    for query in ("?from=soon", "?older=yesterday", "?newer=2020-01-01T00:00:00Z_1_x"):
        page = root.get(PAGE + query, follow=True)
        assert page.redirect_chain == [(PAGE, 302)]
        assert [str(one) for one in page.context["messages"]], query


def test_it_leads_from_page_to_page(root: Client, db: None) -> None:
    moment = timezone.now()
    for number in range(60):
        for kind in ("connect", "subscribe", "publish"):
            refuse(kind, created=moment - datetime.timedelta(seconds=number // 3))
    first = root.get(PAGE)
    assert "Newer entries" not in text_of(first)
    pages = [first]
    while "Older entries" in text_of(pages[-1]):
        pages.append(root.get(address(pages[-1], "older")))
    rows = [[str(row["when"]) for row in page.context["happenings"]] for page in pages]
    assert [len(page) for page in rows] == [50, 50, 50, 30]
    everything = [when for page in rows for when in page]
    assert len(set(everything)) == 180
    back = root.get(address(pages[3], "newer"))
    assert [str(row["when"]) for row in back.context["happenings"]] == rows[2]
    assert root.get(address(back, "newest")).context["happenings"] == first.context["happenings"]


def test_a_rare_reason_is_searched_in_parts(
    root: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leading, "SEARCHED", 10)
    monkeypatch.setattr(reading, "DECIDERS", 0)
    for number in range(35):
        refuse("subscribe", number, reason="Rare." if number in (3, 10, 22, 34) else "No.")
    url, found = f"{PAGE}?reason=Rare.", 0
    for expected in (1, 1, 1, 1):
        page = root.get(url)
        found += len(shown(page))
        assert len(shown(page)) == expected
        if "Search older entries" not in text_of(page):
            break
        assert "Older refusals have not been searched yet." in text_of(page)
        url = address(page, "older")
    assert found == 4
    if connection.features.supports_partial_indexes:  # with who has decided, as the links have it
        page = root.get(f"{PAGE}?by=policy:Front&reason=Rare.")
        assert len(shown(page)) == 4
        assert "Search older entries" not in text_of(page)


def test_a_rare_reason_of_any_decider_is_found(
    root: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not connection.features.supports_partial_indexes:
        pytest.skip("has no index of deciders and reasons")
    monkeypatch.setattr(leading, "SEARCHED", 10)
    monkeypatch.setattr(reading, "DECIDERS", 3)
    if connection.vendor != "postgresql":
        monkeypatch.setattr(reading, "_deciders", lambda source: ["", "policy:0", "policy:1"])
    for number in range(35):
        rare = number in (3, 10, 22, 34)
        decided_by = f"policy:{number % 3}" if rare else ""
        refuse("subscribe", number, decided_by=decided_by, reason="Rare." if rare else "No.")
    page = root.get(f"{PAGE}?reason=Rare.")
    assert (len(shown(page)), "Search older entries" in text_of(page)) == (4, False)
    moments = [row["created"] for row in lines(root.get(f"{PAGE}export/lines/?reason=Rare."))]
    assert moments == sorted(moments, reverse=True)
    assert len(moments) == 4
    if connection.vendor == "postgresql":
        monkeypatch.setattr(reading, "DECIDERS", 2)
        assert "Search older entries" in text_of(root.get(f"{PAGE}?reason=Rare."))


def test_counts_are_of_the_newest(root: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "COUNTED", 3)
    for number in range(4):
        refuse("subscribe", number)
    text = text_of(root.get(PAGE))
    assert "3 times" in text
    assert "Of each kind, the newest 3 refusals of the period are counted." in text


# ---- rights ----------------------------------------------------------------------------------


def viewer(*rights: str) -> Client:
    user = User.objects.create_user("viewer", is_staff=True)
    for right in rights:
        user.user_permissions.add(
            Permission.objects.get(codename=right, content_type__app_label="djhookbox")
        )
    return signed_in(user)


def test_a_log_that_is_not_to_be_seen_is_left_out(refused: None) -> None:
    client = viewer("view_publication", "export_log")
    for url in (PAGE, f"{PAGE}?kind=subscribe&kind=publish", f"{PAGE}?q=alice"):
        assert {kind for kind, _user in shown(client.get(url))} == {"Publication"}, url
        assert "Subscription" not in text_of(client.get(url)).partition("Reasons")[2]
    assert shown(client.get(f"{PAGE}?kind=subscribe")) == []
    rows = lines(client.get(f"{PAGE}export/lines/"))
    assert {row["refused"] for row in rows} == {"publish"}


# ---- files -----------------------------------------------------------------------------------


def lines(response: Any) -> list[dict[str, Any]]:
    text = b"".join(response.streaming_content).decode()
    return [json.loads(line) for line in text.splitlines()]


def test_one_file_has_all_refusals(root: Client, refused: None) -> None:
    rows = lines(root.get(f"{PAGE}export/lines/"))
    assert [row["refused"] for row in rows] == [
        "connect", "create", "subscribe", "publish", "subscribe", "subscribe",
    ]  # fmt: skip
    assert (rows[0]["ip"], rows[0]["channel"]) == ("10.0.0.4", None)
    assert (rows[5]["user_name"], rows[5]["reason"]) == ("bob", "Not yours.")
    assert "payload" not in rows[3]
    assert LogEntry.objects.get().change_message == "Exported as JSON Lines."

    response = root.get(f"{PAGE}export/?kind=subscribe&reason=Not+yours.")
    assert re.search(r"refusals-\d+-\d+\.csv", response.headers["Content-Disposition"])
    text = b"".join(response.streaming_content).decode()
    assert text.startswith(BOM)
    (row,) = csv.DictReader(text.removeprefix(BOM).splitlines())
    assert (row["refused"], row["user_name"], row["channel"]) == ("subscribe", "bob", "/rooms/7/")


def test_a_file_ends_at_the_limit(root: Client, refused: None, settings: Any) -> None:
    settings.HOOKBOX_EXPORT_LIMIT = 4
    assert len(lines(root.get(f"{PAGE}export/lines/"))) == 4
    assert "An export holds at most 4 entries." in text_of(root.get(PAGE))
    assert "An export holds" not in text_of(root.get(f"{PAGE}?q=nobody"))


# ---- at scale --------------------------------------------------------------------------------


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads the plans of SQLite")
@pytest.mark.parametrize(
    "query",
    ["", "?from={day}", "?until={day}", "?from={day}&until={day}", "?q=alice", "?q=c1",
     "?by=policy:Front&reason=No.", "?older={day}T00:00:00Z_2_7", "?newer={day}T00:00:00Z_2_7",
     "export/?until={day}"],
)  # fmt: skip
def test_nothing_is_read_that_is_not_shown(root: Client, refused: None, query: str) -> None:
    for number in range(60):
        refuse("subscribe", number * 40_000, connection_id="c1")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    day = timezone.localdate() - datetime.timedelta(days=3)
    with CaptureQueriesContext(connection) as queries:
        response = root.get(PAGE + query.format(day=day))
        if response.streaming:
            b"".join(response.streaming_content)
    logs = ("connectionlog", "subscriptionlog", "publication")
    seen = 0
    for sql in (query["sql"] for query in queries.captured_queries):
        if not any(f'FROM "djhookbox_{log}"' in sql for log in logs):
            continue
        seen += 1
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = "\n".join(row[-1] for row in cursor.fetchall())
        plan = plan.replace("SCAN subquery", "")  # of counts that are limited
        assert "LIMIT" in sql, sql
        assert "TEMP B-TREE" not in plan, (sql, plan)
        assert "SCAN" not in plan, (sql, plan)
    assert seen >= 4


# ---- several values of one column ------------------------------------------------------------


def test_several_events_at_once(root: Client, refused: None) -> None:
    def events(query: str) -> list[str]:
        page = root.get(f"{APP}subscriptionlog/{query}")
        return [row.event for row in page.context["cl"].result_list]

    both = "?event__in=refused,create_refused"
    assert events(both) == ["create_refused", *["refused"] * 3]
    assert events(f"{both}&user_name=bob") == ["refused"]
    assert events("?event__exact=subscribe") == ["subscribe"]
    page = root.get(f"{APP}subscriptionlog/?event__exact=refused").content.decode()
    choices = dict(re.findall(r'<a href="([^"]*)"[^>]*>.*?</span> ([^<]*)</a>', page))
    led = {label: html.unescape(url).replace("%2C", ",") for url, label in choices.items()}
    assert led["creation refused"] == "?event__in=create_refused,refused"
    assert led["refused"] == "?"  # taken away again
    rows = lines(root.get(f"{APP}subscriptionlog/export/lines/{both}"))
    assert [row["event"] for row in rows] == ["create_refused", *["refused"] * 3]


def test_several_values_lead_from_page_to_page(root: Client, db: None) -> None:
    for number in range(130):
        event = ("connect", "refused", "disconnect")[number % 3]
        ConnectionLog.objects.create(
            event=event, user_name=f"user{number}",
            created=timezone.now() - datetime.timedelta(seconds=number),
        )  # fmt: skip
    names: list[str] = []
    url = f"{APP}connectionlog/?event__in=connect,disconnect"
    while url:
        page = root.get(url)
        names += [row.user_name for row in page.context["cl"].result_list]
        links = {kind: link for link, _text, kind in page.context["cl"].page_links}
        url = f"{APP}connectionlog/{links['older']}" if "older" in links else ""
    assert names == [f"user{number}" for number in range(130) if number % 3 != 1]
