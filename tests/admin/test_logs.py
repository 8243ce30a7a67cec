"""The three logs in the admin: lists that stay fast, trails, exports, notes, what is kept."""

from __future__ import annotations

import csv
import datetime
import html
import io
import json
import re
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, parse_qsl, urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djhookbox.admin.logs import leading, periods
from djhookbox.admin.logs.codes import MEANINGS
from djhookbox.admin.logs.exports import BOM, cell
from djhookbox.admin.pages import pretty_json
from djhookbox.audit import pruning
from djhookbox.models import ChannelPolicy, ConnectionLog, Publication, SubscriptionLog
from djhookbox.wire import closing

from .stand_in import APP, Hookbox, messages_of, person, signed_in

LOGS = ("connectionlog", "subscriptionlog", "publication")

#: Names that pages have to bear.
NAMES = ('<script>alert("1")</script>', "O'Neil & Söhne", "😀👩‍👩‍👧", "عربي", "=1+1", "x" * 255)


def fill(model: str, count: int, **fields: Any) -> None:
    kind = {"connectionlog": ConnectionLog, "subscriptionlog": SubscriptionLog}.get(
        model, Publication
    )
    kind.objects.bulk_create(kind(**fields) for _ in range(count))


# ---- at scale --------------------------------------------------------------------------------

OLDER, NEWER = "?older=2100-01-01T00:00:00Z_900", "?newer=2000-01-01T00:00:00Z_1"

QUERIES = {
    "connectionlog": (
        "", "?event__exact=refused", "?transport__exact=csp", "?user_name=alice", "?ip=10.0.0.1",
        "?connection_id=c1", "?q=alice", "?q=c1", "?q=nobody", OLDER, "?p=2",
        "?from=2026-01-01&until=2026-12-31",
    ),
    "subscriptionlog": (
        "", "?event__exact=refused", "?user_name=alice", "?channel=/front/", "?connection_id=c1",
        "?q=alice", "?q=/front/", "?q=/fr*", "?q=nobody", OLDER, "?p=2",
        "?from=2026-01-01",
    ),
    "publication": (
        "", "?status__exact=failed", "?source__exact=code", "?user_name=alice",
        "?channel=/front/", "?connection_id=c1", "?q=/front/", "?q=/fr*", "?q=nobody",
        OLDER, "?p=2", "?until=2026-12-31",
    ),
}  # fmt: skip


@pytest.mark.parametrize("model", LOGS)
def test_no_list_looks_at_the_whole_table(root: Client, rows: Any, model: str) -> None:
    fields = {"channel": "/front/"} if model != "connectionlog" else {}
    fill(model, 120, user_name="alice", connection_id="c1", **fields)
    pages = [f"{APP}{model}/{query}" for query in QUERIES[model]]
    pages += [f"{APP}{model}/trail/?{what}" for what in ("user=alice", "connection=c1")]
    for page in pages:
        with CaptureQueriesContext(connection) as queries:
            response = root.get(page)
        assert response.status_code == 200, page
        tables = [f"djhookbox_{name}" for name in LOGS]
        statements = [q["sql"] for q in queries.captured_queries]
        ours = [sql for sql in statements if any(table in sql for table in tables)]
        assert ours, page
        for sql in ours:
            assert "DISTINCT" not in sql, sql
            assert "LIMIT" in sql, sql
            assert "COUNT(" not in sql, sql
        assert len(queries) <= 9, (page, queries.captured_queries)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads the plans of SQLite")
@pytest.mark.parametrize("model", LOGS)
def test_filters_and_searches_have_their_index(root: Client, rows: Any, model: str) -> None:
    fields = {"channel": "/front/"} if model != "connectionlog" else {}
    fill(model, 60, user_name="alice", connection_id="c1", **fields)
    for query in QUERIES[model]:
        if "*" in query:
            continue  # a range of channels, whose rows are sorted
        with CaptureQueriesContext(connection) as queries:
            root.get(f"{APP}{model}/{query}")
        for sql in [q["sql"] for q in queries.captured_queries if f"djhookbox_{model}" in q["sql"]]:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
                plan = "\n".join(row[-1] for row in cursor.fetchall())
            assert "TEMP B-TREE" not in plan, (query, sql, plan)
            if "WHERE" in sql:
                assert f"SEARCH djhookbox_{model} USING" in plan, (query, sql, plan)


def test_a_long_log_leads_from_page_to_page(root: Client, db: None) -> None:
    now = timezone.now()
    # Several at the same time, and one that is entered later than it happened.
    ConnectionLog.objects.bulk_create(
        ConnectionLog(event="connect", user_name=f"user{n}", created=now + datetime.timedelta(0, n))
        for n in (*range(60), *([60] * 60), 30.5)
    )
    expected = [row.user_name for row in ConnectionLog.objects.order_by("-created", "-pk")]

    def names(page: Any) -> list[str]:
        return [row.user_name for row in page.context["cl"].result_list]

    def address(page: Any, kind: str) -> str:
        found = re.search(rf'href="([^"]*)" class="hookbox-{kind}"', page.content.decode())
        assert found, kind
        return f"{APP}connectionlog/{html.unescape(found[1])}"

    first = root.get(f"{APP}connectionlog/?event__exact=connect")
    assert "50 entries on this page" in first.content.decode()
    assert "Newer entries" not in first.content.decode()
    second = root.get(address(first, "older"))
    third = root.get(address(second, "older"))
    assert [*names(first), *names(second), *names(third)] == expected
    assert "Older entries" not in third.content.decode()
    assert "21 entries on this page" in third.content.decode()
    back = root.get(address(third, "newer"))
    assert names(back) == names(second)
    assert names(root.get(address(back, "newer"))) == names(first)
    assert names(root.get(address(third, "newest"))) == names(first)
    assert all("event__exact=connect" in address(third, kind) for kind in ("newer", "newest"))
    # A place remains one after its row has been deleted.
    here = address(first, "older")
    ConnectionLog.objects.all()[49].delete()
    assert names(root.get(here)) == names(second)
    for odd in ("x", "_", "2026-01-01_1_x", "2026-13-01T00:00:00Z_1", f"{now.isoformat()}_"):
        assert root.get(f"{APP}connectionlog/", {"older": odd}).status_code == 302, odd
    short = root.get(f"{APP}connectionlog/?user_name=user7").content.decode()
    assert "1 entry" in short
    assert "entry on this page" not in short


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases have statistics")
def test_of_two_filters_the_rarer_one_leads(root: Client, db: None) -> None:
    fill("connectionlog", 60, user_name="alice", event="connect")
    fill("connectionlog", 3, user_name="bob", event="refused")
    fill("connectionlog", 2, user_name="alice", event="refused")
    fill("connectionlog", 9, user_name="bob", event="connect")
    for query, index, count in (
        ("?user_name=alice&event__exact=refused", "hookbox_conn_event", 2),
        ("?user_name=bob&event__exact=connect", "hookbox_conn_user", 9),
        ("?user_name=nobody&event__exact=connect&transport__exact=", "hookbox_conn_user", 0),
        ("?q=alice&event__exact=refused", "hookbox_conn_event", 2),
    ):
        with CaptureQueriesContext(connection) as queries:
            page = root.get(f"{APP}connectionlog/{query}")
        assert len(page.context["cl"].result_list) == count
        (sql,) = [q["sql"] for q in queries.captured_queries if "LIMIT 51" in q["sql"]]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = "\n".join(row[-1] for row in cursor.fetchall())
        assert f"USING INDEX {index} " in plan, (query, plan)


# ---- search and filters ----------------------------------------------------------------------


def test_the_page_of_a_row_leads_back_to_the_filters(root: Client, db: None) -> None:
    row = ConnectionLog.objects.create(event="connect", user_name="alice & bob")
    policy = ChannelPolicy.objects.create(name="A", pattern="/a/")
    for model, key, query in (
        ("connectionlog", row.pk, "q=alice+%26+bob"),
        ("channelpolicy", policy.pk, "q=A&enabled__exact=1"),
    ):
        address = f"{APP}{model}/{key}/change/"
        page = root.get(f"{APP}{model}/?{query}").content.decode()
        links = re.findall(rf'href="{address}[?]([^"]*)"', page)
        assert links
        for link in links:  # Django's parameter, as it redirects after saving
            assert parse_qs(html.unescape(link)) == {"_changelist_filters": [query]}
        assert f'href="{address}"' in root.get(f"{APP}{model}/").content.decode()


def found(client: Client, model: str, query: str) -> list[Any]:
    response = client.get(f"{APP}{model}/{query}")
    assert response.status_code == 200, query
    return list(response.context["cl"].result_list)


def test_two_filters_are_searched_in_parts(
    root: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index has both columns: a page does not look through everything for rare pairs."""
    monkeypatch.setattr(leading, "SEARCHED", 10)
    SubscriptionLog.objects.bulk_create(
        SubscriptionLog(
            event="destroy" if number in (3, 22) else "subscribe", user_name=user, channel="/a/"
        )
        for number in range(35)
        for user in ("alice", "bob")
    )
    SubscriptionLog.objects.bulk_create(
        SubscriptionLog(event="destroy", user_name="carol", channel="/a/") for _row in range(35)
    )
    both = "event__exact=destroy&user_name=alice"
    url, pages = f"{APP}subscriptionlog/?{both}", []
    while url:
        page = root.get(url)
        text = html.unescape(page.content.decode())
        pages.append(len(page.context["cl"].result_list))
        older = [url for url, _text, kind in page.context["cl"].page_links if kind == "older"]
        assert bool(older) == ("Older entries have not been searched yet." in text)
        assert ("Nothing has been found yet." in text) == (bool(older) and not pages[-1])
        url = f"{APP}subscriptionlog/{older[0]}" if older else ""
    assert sum(pages) == 2
    assert len(pages) == 4
    one = root.get(f"{APP}subscriptionlog/?user_name=alice").context["cl"]
    assert (len(one.result_list), one.stopped) == (35, False)
    several = root.get(f"{APP}subscriptionlog/?event=create&event=destroy&user_name=alice")
    assert several.context["cl"].stopped


def test_refusals_of_a_user_are_found_at_once(
    root: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leading, "SEARCHED", 10)
    SubscriptionLog.objects.bulk_create(
        SubscriptionLog(event="refused" if number in (3, 22) else "subscribe", user_name=user)
        for number in range(35)
        for user in ("alice", "bob")
    )
    SubscriptionLog.objects.bulk_create(
        SubscriptionLog(event="refused", user_name="carol") for _row in range(35)
    )
    page = root.get(f"{APP}subscriptionlog/?event__exact=refused&user_name=alice").context["cl"]
    partial = connection.features.supports_partial_indexes
    assert (len(page.result_list), page.stopped) == ((2, False) if partial else (0, True))
    # A third filter has no index together with these two.
    SubscriptionLog.objects.filter(user_name="bob").update(event="refused", reason="No.")
    both = "event__exact=refused&user_name=bob&reason=Yes."
    stopped = root.get(f"{APP}subscriptionlog/?{both}").context["cl"].stopped
    assert stopped


def test_searches_are_exact_or_by_the_beginning_of_a_channel(root: Client, db: None) -> None:
    for channel in ("/a/1/", "/a/2/", "/A/1/", "/b%/", "/b/", "/a\U0010ffff", "alice"):
        SubscriptionLog.objects.create(event="subscribe", channel=channel, user_name=" _anon")
    SubscriptionLog.objects.create(event="subscribe", channel="/c/", user_name="alice")

    def channels(term: str) -> list[str]:
        response = root.get(f"{APP}subscriptionlog/", {"q": term})
        return sorted(row.channel for row in response.context["cl"].result_list)

    assert channels("/a/1/") == ["/a/1/"]
    assert channels(" /a/1/ ") == ["/a/1/"]
    assert channels("/a") == []
    assert channels("/a/*") == ["/a/1/", "/a/2/"]
    assert channels("/a*") == ["/a/1/", "/a/2/", "/a\U0010ffff"]
    assert channels("/a\U0010ffff*") == ["/a\U0010ffff"]
    assert channels("/b%*") == ["/b%/"]
    assert channels("alice") == ["/c/", "alice"], "a user and a channel of that name"
    assert len(channels(" _anon")) == 7, "names of anonymous visitors begin with a space"
    assert len(channels("*")) == 8
    assert channels("%") == []


@pytest.mark.parametrize("model", ["subscriptionlog", "publication"])
def test_names_are_found_as_they_are_written(root: Client, db: None, model: str) -> None:
    """Some databases take them for each other if only case, accents or last spaces differ."""
    kind: Any = SubscriptionLog if model == "subscriptionlog" else Publication
    names = ["/room/", "/Room/", "/room/ ", "/r\u00f6om/", "/ro\u200bom/", "/ROOM/"]
    for name in names:
        kind.objects.create(channel=name, user_name=f" _{name}")
    for column, value in [("channel", name) for name in names] + [
        ("user_name", f" _{name}") for name in names
    ]:
        kind_of = column.removesuffix("_name")
        address = f"?{urlencode({column: value})}"
        (row,) = found(root, model, address)
        assert getattr(row, column) == value
        (row,) = found(root, model, f"?{urlencode({'q': value})}")
        assert getattr(row, column) == value
        trail = root.get(f"{APP}{model}/trail/?{urlencode({kind_of: value})}")
        assert len(trail.context["happenings"]) == 1
        export = b"".join(root.get(f"{APP}{model}/export/{address}").streaming_content)
        assert export.count(b"\n") == 2


def test_channels_begin_before_the_gap_in_unicode(root: Client, db: None) -> None:
    for channel in ("/\ud7ffx", "/\ue000"):
        SubscriptionLog.objects.create(event="subscribe", channel=channel)
    assert len(found(root, "subscriptionlog", "?q=/%ED%9F%BF*")) == 1


@pytest.mark.parametrize("model", LOGS)
def test_days_are_chosen(root: Client, db: None, model: str, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    kind = {"connectionlog": ConnectionLog, "subscriptionlog": SubscriptionLog}.get(
        model, Publication
    )
    utc = datetime.timezone.utc
    for hour in (22, 23):  # before and after midnight in Berlin
        kind.objects.create(created=datetime.datetime(2026, 1, 9, hour, 30, tzinfo=utc))
    assert len(found(root, model, "?from=2026-01-09&until=2026-01-09")) == 1
    assert len(found(root, model, "?from=2026-01-10")) == 1
    assert len(found(root, model, "?until=2026-01-10")) == 2
    assert len(found(root, model, "?from=2026-01-11")) == 0
    page = root.get(f"{APP}{model}/?from=2026-01-10&q=x").content.decode()
    assert 'name="from" value="2026-01-10"' in page
    form = page.partition('class="hookbox-period"')[2].partition("</form>")[0]
    assert re.findall('name="q"[^>]*', form) == ['name="q" value="x"'], "the search is kept"
    for odd in ("yesterday", "2026-13-01", "9999-12-31"):
        response = root.get(f"{APP}{model}/?until={odd}")
        assert response.status_code == 302, odd
        assert "e=1" in response["Location"]
    today = str(timezone.localdate())
    chosen = root.get(f"{APP}{model}/?from={today}").content.decode()
    assert re.search(r'class="selected"[^>]*>\s*<a href="[^"]*">Today<', chosen)


# ---- trails ----------------------------------------------------------------------------------


def story(name: str = "alice", channel: str = "/front/", connection: str = "c" * 32) -> None:
    """Enter what happens to a connection into all logs."""
    common = {"user_name": name, "connection_id": connection}
    ConnectionLog.objects.create(event="connect", ip="10.0.0.1", **common)
    SubscriptionLog.objects.create(event="subscribe", channel=channel, **common)
    Publication.objects.create(
        channel=channel, payload="secret words", preview='"secret words"', source="client",
        status="sent", **common,
    )  # fmt: skip
    ConnectionLog.objects.create(
        event="disconnect", code=1001, duration=datetime.timedelta(seconds=75), **common
    )


@pytest.mark.parametrize("model", LOGS)
@pytest.mark.parametrize(
    ("query", "count"),
    [({"connection": "c" * 32}, 4), ({"user": "alice"}, 4), ({"channel": "/front/"}, 2)],
)
def test_one_click_leads_to_everything(
    root: Client, db: None, model: str, query: dict[str, str], count: int
) -> None:
    story()
    story("bob", "/other/", "d" * 32)
    response = root.get(f"{APP}{model}/trail/", query)
    happenings = response.context["happenings"]
    assert len(happenings) == count
    page = response.content.decode()
    assert "bob" not in page
    (value,) = query.values()
    assert f"{value}</h1>" in page
    # …from each row that has it
    (kind,) = query
    if kind != "channel" or model != "connectionlog":
        rows = root.get(f"{APP}{model}/").content.decode()
        assert f"/{model}/trail/?{kind}=" in rows


def test_a_trail_is_in_order_and_says_what_happened(root: Client, db: None) -> None:
    story()
    words = [str(one["badge"]) for one in root.get(
        f"{APP}connectionlog/trail/?user=alice").context["happenings"]]  # fmt: skip
    order = ["disconnected", "sent", "subscribed", "connected"]
    assert all(word in badge for word, badge in zip(order, words, strict=True))
    page = root.get(f"{APP}connectionlog/trail/?user=alice").content.decode()
    for fact in ("10.0.0.1", "1001", "00:01:15", "&quot;secret words&quot;", "/front/"):
        assert fact in page, fact


@pytest.mark.parametrize(
    ("language", "week", "last"),
    [
        ("en", "2026-01-04", {"from": "2025-12-28", "until": "2026-01-03"}),
        ("de", "2026-01-05", {"from": "2025-12-29", "until": "2026-01-04"}),
    ],
    ids=["sunday", "monday"],
)
def test_common_periods(
    root: Client,
    db: None,
    settings: Any,
    monkeypatch: Any,
    language: str,
    week: str,
    last: dict[str, str],
) -> None:
    settings.LANGUAGE_CODE = language
    monkeypatch.setattr(periods, "today", lambda: datetime.date(2026, 1, 8))  # a Thursday
    expected = [
        {},
        {"from": "2026-01-08"},
        {"from": "2026-01-07", "until": "2026-01-07"},
        {"from": week},
        last,
        {"from": "2026-01-01"},
        {"from": "2025-12-09"},
    ]
    for number, chosen in enumerate(expected):
        page = root.get(f"{APP}connectionlog/", {"user_name": "a", "q": "b", **chosen})
        lists = page.context["cl"].filter_specs
        (spec,) = [one for one in lists if isinstance(one, periods.PeriodFilter)]
        choices = list(spec.choices(page.context["cl"]))
        assert [one["selected"] for one in choices].index(True) == number
        assert sum(one["selected"] for one in choices) == 1
        queries = [dict(parse_qsl(one["query_string"].lstrip("?"))) for one in choices]
        assert queries == [{"user_name": "a", "q": "b", **one} for one in expected]


def test_a_week_that_begins_today_is_called_today(root: Client, db: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(periods, "today", lambda: datetime.date(2026, 1, 4))
    page = root.get(f"{APP}connectionlog/?from=2026-01-04").content.decode()
    chosen = page.partition('class="hookbox-period"')[0].rpartition("<details")[2]
    assert re.findall(r'class="selected"><a[^>]*>([^<]*)<', chosen) == ["Today"]


@pytest.mark.parametrize("model", LOGS)
def test_facts_are_viewed_not_changed(root: Client, rows: Any, model: str) -> None:
    name = str(rows[model]._meta.verbose_name)
    page = root.get(f"{APP}{model}/{rows[model].pk}/change/")
    assert page.context["title"] == f"View {name}"
    index = root.get("/admin/djhookbox/").content.decode()
    row = re.search(rf'<tr class="model-{model}.*?</tr>', index, re.DOTALL)
    assert row is not None
    assert "View</a>" in row[0]
    assert "Change</a>" not in row[0]


# ---- close codes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "shown"),
    [
        (4500, "Disconnected by the site", "4500: Disconnected by the site"),
        (4500, "Rude", "4500: Disconnected by the site (Rude)"),
        (1006, "", "1006: The connection was lost"),
        (4000, "session expired", "4000: The session changed"),
        (4600, "Come back tomorrow", "4600 (Come back tomorrow)"),
        (4600, "", "4600"),
        (None, "No.", "No."),
    ],
)
def test_close_codes_have_words(
    root: Client, db: None, code: int | None, reason: str, shown: str
) -> None:
    row = ConnectionLog.objects.create(
        event="disconnect", user_name="alice", code=code, reason=reason
    )
    page = root.get(f"{APP}connectionlog/").content.decode()
    assert f'<td class="field-why">{shown}</td>' in page
    form = root.get(f"{APP}connectionlog/{row.pk}/change/").content.decode()
    assert code is None or shown.partition(" (")[0] in form
    trail = root.get(f"{APP}connectionlog/trail/?user=alice").content.decode()
    assert shown in trail


def test_close_codes_have_german_words(root: Client, db: None, settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    ConnectionLog.objects.create(
        event="disconnect", code=4001, reason="The connection does not read fast enough"
    )
    page = root.get(f"{APP}connectionlog/").content.decode()
    assert "4001: Der Client las nicht schnell genug<" in page


def test_each_documented_close_code_has_words() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/errors.rst").read_text()
    documented = {int(code) for code in re.findall(r"closecode:: (\d+)", text)}
    ends = [value for value in vars(closing).values() if isinstance(value, closing.Disconnect)]
    assert len(documented) > 5
    assert documented | {end.code for end in ends} <= set(MEANINGS)


def test_a_trail_shows_what_its_reader_may_see(db: None) -> None:
    story()
    reader = signed_in(person("reader", "view_subscriptionlog", "view_publication"))
    page = reader.get(f"{APP}subscriptionlog/trail/?user=alice")
    assert len(page.context["happenings"]) == 2
    assert "secret words" not in page.content.decode()
    assert reader.get(f"{APP}connectionlog/trail/?user=alice").status_code == 403


def test_long_trails_and_unknown_ones(root: Client, db: None) -> None:
    fill("subscriptionlog", 130, user_name="alice", channel="/a/", event="subscribe")
    page = root.get(f"{APP}subscriptionlog/trail/?user=alice")
    assert len(page.context["happenings"]) == 100
    assert "These are the newest 100 entries" in page.content.decode()
    nothing = root.get(f"{APP}subscriptionlog/trail/?user=nobody")
    assert "The audit log has no entries for this." in nothing.content.decode()
    assert root.get(f"{APP}subscriptionlog/trail/").status_code == 302
    assert root.get(f"{APP}subscriptionlog/trail/?user=a%00b").status_code == 200


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", ["en", "ar"])
def test_all_names_are_borne(
    root: Client, db: None, settings: Any, name: str, language: str
) -> None:
    settings.LANGUAGE_CODE = language
    story(name, name)
    SubscriptionLog.objects.create(
        event="refused", channel=name, user_name=name, decided_by=f"policy:{name}"[:255],
        reason=name,
    )  # fmt: skip
    Publication.objects.create(
        channel=name, user_name=name, payload={name: name}, preview=name[:80], source="client",
        status="failed", error=name,
    )  # fmt: skip
    for model in LOGS:
        pages = [f"{APP}{model}/", f"{APP}{model}/trail/"]
        for page in pages:
            response = root.get(page, {"user": name} if "trail" in page else {"user_name": name})
            assert response.status_code == 200
            assert "<script>alert" not in response.content.decode()
        assert root.get(f"{APP}{model}/", {"q": name}).context["cl"].result_count >= 1
        assert b"".join(root.get(f"{APP}{model}/export/"))


# ---- refusals --------------------------------------------------------------------------------


def test_refusals_can_be_tried_again(root: Client, rows: Any) -> None:
    SubscriptionLog.objects.create(
        event="create_refused", user_name=" _x", channel="/a b/", decided_by="policy:News"
    )
    Publication.objects.create(
        channel="/front/", source="client", status="refused", user_name="bob", error="No.",
        decided_by="policy:Front", reason="No.",
    )  # fmt: skip
    Publication.objects.create(channel="/front/", source="code", status="refused", error="No.")
    page = root.get(f"{APP}subscriptionlog/").content.decode()
    assert "channelpolicy/try/?user=alice&amp;channel=%2Ffront%2F&amp;operation=subscribe" in page
    assert "channelpolicy/try/?user=+_x&amp;channel=%2Fa+b%2F&amp;operation=create" in page
    assert "channelpolicy/?name=News" in page, "who decided is a click away"
    history = root.get(f"{APP}publication/").content.decode()
    assert history.count("Check this again") == 1, "code is never asked"
    assert "channelpolicy/try/?user=bob&amp;channel=%2Ffront%2F&amp;operation=publish" in history
    row = f"{APP}subscriptionlog/{rows['subscriptionlog'].pk}/change/"
    assert "Check this again" in root.get(row).content.decode()
    trial = root.get(f"{APP}channelpolicy/try/?user=+_x&channel=/front/&operation=subscribe")
    assert trial.context["trial"] is not None, "the page understands what leads to it"


def test_only_who_may_see_policies_is_led_to_them(rows: Any) -> None:
    SubscriptionLog.objects.create(event="refused", channel="/a/", decided_by="policy:News")
    reader = signed_in(person("reader", "view_subscriptionlog"))
    page = reader.get(f"{APP}subscriptionlog/").content.decode()
    assert "policy:News" in page
    assert "channelpolicy" not in page


# ---- what is kept ----------------------------------------------------------------------------


@pytest.mark.parametrize("model", LOGS)
def test_pages_say_how_long_entries_are_kept(
    root: Client, rows: Any, model: str, settings: Any
) -> None:
    page = f"{APP}{model}/"
    assert (
        "Entries are kept for 30 days. None have been deleted yet"
        in root.get(page).content.decode()
    )
    settings.HOOKBOX_EXECUTABLE = "hookbox"  # which does not remind the site
    assert "hookbox_prune” daily" in root.get(page).content.decode()
    settings.HOOKBOX_EXECUTABLE = None
    old = timezone.now() - datetime.timedelta(days=31)
    for kind in pruning.LOGS.values():
        kind.objects.bulk_create(kind(created=old) for _ in range(2))
    pruning.prune(30, seconds=0, batch=1, clock=lambda: 0.0)
    assert "More entries remain to be deleted." in root.get(page).content.decode()
    pruning.prune(30)
    text = root.get(page).content.decode()
    assert "2 entries." in text
    assert "More entries remain to be deleted." not in text
    settings.HOOKBOX_LOG_DAYS = None
    assert "kept forever" in root.get(page).content.decode()
    settings.HOOKBOX_LOG_DAYS = "soon"
    assert "HOOKBOX_LOG_DAYS must be" in root.get(page).content.decode()


@pytest.mark.parametrize("model", LOGS[:2])
def test_a_log_that_is_switched_off_says_so(root: Client, model: str, settings: Any) -> None:
    name = {"connectionlog": "CONNECTIONS", "subscriptionlog": "SUBSCRIPTIONS"}[model]
    setattr(settings, f"HOOKBOX_LOG_{name}", False)
    page = root.get(f"{APP}{model}/").content.decode()
    assert f"set HOOKBOX_LOG_{name} to True" in page
    assert "yet" not in page.split("hookbox-empty")[1][:200]
    fields = {"channel": "/a/"} if model == "subscriptionlog" else {}
    fill(model, 1, event="refused", **fields)
    page = root.get(f"{APP}{model}/").content.decode()
    assert "hookbox-notice" in page
    none = root.get(f"{APP}{model}/?q=nobody").content.decode()
    assert "Clear search and filters" in none
    setattr(settings, f"HOOKBOX_LOG_{name}", True)
    assert "hookbox-notice" not in root.get(f"{APP}{model}/").content.decode()


def test_the_history_says_that_payloads_are_not_kept(root: Client, db: None, settings: Any) -> None:
    settings.HOOKBOX_STORE_PAYLOADS = False
    Publication.objects.create(channel="/a/", source="code", status="sent", kept="nothing")
    page = root.get(f"{APP}publication/").content.decode()
    assert "Payloads are not stored (HOOKBOX_STORE_PAYLOADS)." in page
    assert "not stored" in page


# ---- exports ---------------------------------------------------------------------------------


def exported(client: Client, page: str) -> list[dict[str, str]]:
    response = client.get(page)
    assert response.status_code == 200, page
    text = b"".join(response).decode()
    assert text.startswith(BOM)
    return list(csv.DictReader(io.StringIO(text[1:])))


def test_an_export_has_what_the_filters_leave(root: Client, rows: Any) -> None:
    story("bob")
    everything = exported(root, f"{APP}connectionlog/export/")
    assert [row["user_name"] for row in everything] == ["bob", "bob", "alice"]
    assert everything[0]["duration"] == "75.0"
    assert everything[2]["ip"] == "::1"
    datetime.datetime.fromisoformat(everything[0]["created"])
    assert len(exported(root, f"{APP}connectionlog/export/?event__exact=disconnect")) == 1
    assert len(exported(root, f"{APP}connectionlog/export/?q=alice")) == 1
    assert exported(root, f"{APP}connectionlog/export/?q=nobody") == []
    assert root.get(f"{APP}connectionlog/export/?from=soon").status_code == 302
    page = root.get(f"{APP}connectionlog/?q=alice&p=1").content.decode()
    assert f"{APP}connectionlog/export/?q=alice" in page
    assert "An export holds at most 100,000 entries." in page


def test_an_export_is_limited_and_streamed(root: Client, db: None, settings: Any) -> None:
    settings.HOOKBOX_EXPORT_LIMIT = 150
    fill("subscriptionlog", 200, channel="/a/", event="subscribe")
    assert len(exported(root, f"{APP}subscriptionlog/export/")) == 150
    response = root.get(f"{APP}subscriptionlog/export/")
    assert response.streaming
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="subscriptionlog-\d{8}-\d{6}\.csv"', response["Content-Disposition"]
    )
    assert "at most 150 entries" in root.get(f"{APP}subscriptionlog/").content.decode()


def test_an_export_begins_at_once_and_continues_where_it_was(
    root: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST", "CHUNK"):
        monkeypatch.setattr(f"djhookbox.admin.logs.exports.{name}", 40)
    fill("subscriptionlog", 130, channel="/a/", event="subscribe", created=timezone.now())
    expected = [str(key) for key in SubscriptionLog.objects.values_list("pk", flat=True)]
    response = root.get(f"{APP}subscriptionlog/export/?older=2000-01-01T00:00:00Z_1")
    parts = iter(response)
    with CaptureQueriesContext(connection) as queries:
        header = next(parts)
    assert header.startswith(f"{BOM}id,created".encode())
    assert not queries.captured_queries
    with CaptureQueriesContext(connection) as queries:
        rest = list(parts)
    assert len(rest) == len(queries) == 4
    assert not any("OFFSET" in query["sql"] for query in queries.captured_queries)
    found = csv.DictReader(io.StringIO(b"".join([header, *rest]).decode()[1:]))
    assert [row["id"] for row in found] == expected


def test_an_export_holds_few_long_payloads_at_once(
    root: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("djhookbox.admin.logs.exports.CHUNK_OF_JSON", 5_000)
    monkeypatch.setattr("djhookbox.admin.logs.exports.FIRST", 8)
    lengths = [10] * 30 + [1_000] * 15 + [20_000] * 2 + [10] * 30
    Publication.objects.bulk_create(
        Publication(channel="/a/", payload="x" * length, source="code", status="sent")
        for length in lengths
    )
    keys = [str(key) for key in Publication.objects.values_list("pk", flat=True)]
    for query in ("", "?status__in=sent,failed"):
        begin, *parts = root.get(f"{APP}publication/export/{query}")
        assert all(len(part) < 12_000 or part.count(b"\n") == 1 for part in parts)
        assert len(parts) < len(keys) / 2
        found = csv.DictReader(io.StringIO(b"".join([begin, *parts]).decode()[1:]))
        assert [row["id"] for row in found] == keys


def test_an_export_has_json_as_people_read_it(root: Client, db: None) -> None:
    payloads = [
        {"text": "Grüße, 世界 🎉", "big": 10**30, "few": 1.5},
        "a\u2028\n\x01\\u00fc",
        None,
        [],
    ]
    for payload in payloads:
        Publication.objects.create(channel="/a/", payload=payload, source="code", status="sent")
    laid_out = '{\n "a": [\r\n1]}'
    with connection.cursor() as cursor:
        table = Publication._meta.db_table
        cursor.execute(f"UPDATE {table} SET payload = %s WHERE payload = %s", [laid_out, "[]"])
    expected = [{"a": [1]}, *payloads[2::-1]]
    cells = [row["payload"] for row in exported(root, f"{APP}publication/export/")]
    assert [*map(json.loads, cells)] == expected
    lines = b"".join(root.get(f"{APP}publication/export/lines/")).decode().split("\n")
    assert [json.loads(line)["payload"] for line in lines[:-1]] == expected
    for text in (cells[-1], lines[-2]):
        assert "Grüße, 世界 🎉" in text


def test_json_lines_have_the_values_themselves(root: Client, rows: Any) -> None:
    story("=1+1")
    Publication.objects.create(channel="/a/", payload={"a": "ü\nb"}, source="code", status="sent")
    response = root.get(f"{APP}publication/export/lines/")
    assert response["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert response["Content-Disposition"].endswith('.jsonl"')
    first, second, _third = map(json.loads, b"".join(response).decode().splitlines())
    assert first["payload"] == {"a": "ü\nb"}
    assert first["size"] is None
    assert second["user_name"] == "=1+1", "no spreadsheet reads this"
    datetime.datetime.fromisoformat(first["created"])
    response = root.get(f"{APP}connectionlog/export/lines/?event__exact=disconnect")
    (line,) = map(json.loads, b"".join(response).decode().splitlines())
    assert line["duration"] == 75
    assert "as JSON Lines, filtered by event" in LogEntry.objects.first().change_message
    assert f"{APP}connectionlog/export/lines/?q=a" in root.get(
        f"{APP}connectionlog/?q=a").content.decode()  # fmt: skip
    clerk = signed_in(person("clerk", "view_publication", "export_log"))
    for line in b"".join(clerk.get(f"{APP}publication/export/lines/")).decode().splitlines():
        assert not {"payload", "preview"} & set(json.loads(line))
    blind = signed_in(person("blind", "view_publication"))
    assert blind.get(f"{APP}publication/export/lines/").status_code == 403


def test_payloads_are_exported_for_those_who_may_see_them(root: Client, db: None) -> None:
    story()
    Publication.objects.create(channel="/a/", payload={"a": "ü"}, source="code", status="sent")
    payloads = [row["payload"] for row in exported(root, f"{APP}publication/export/")]
    assert payloads == ['{"a": "ü"}', '"secret words"']
    clerk = signed_in(person("clerk", "view_publication", "export_log"))
    for row in exported(clerk, f"{APP}publication/export/"):
        assert not {"payload", "preview"} & set(row)


def test_no_cell_is_a_formula(root: Client, db: None) -> None:
    for name in ("=1+1", "+1", "-1", "@x", "\t=1", "a=1"):
        SubscriptionLog.objects.create(event="subscribe", channel=name, user_name=name)
    names = {row["channel"] for row in exported(root, f"{APP}subscriptionlog/export/")}
    assert names == {"'=1+1", "'+1", "'-1", "'@x", "'\t'=1", "a=1"}
    assert cell(-5) == -5
    assert cell(None) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufe661", "'\ufe661"), ("\ufe621", "'\ufe621"), ("\ufe6bx", "'\ufe6bx"),
        ("\ufe631", "'\ufe631"), ("\u22121", "'\u22121"), ("\xad=1", "'\xad=1"),
        ("\u2066=1", "'\u2066=1"), ("a\x85=1", "a\x85'=1"), ("a\u2028=1", "a\u2028'=1"),
        ("\uff1d1", "'\uff1d1"), ("\uff0b1", "'\uff0b1"), ("\uff0d1", "'\uff0d1"),
        ("\uff20x", "'\uff20x"),
        (";=1+1", ";'=1+1"), ("a;=1;-2", "a;'=1;'-2"), ('a;"=1"', "a;\"'=1\""), ("a|@x", "a|'@x"),
        ("a; \u200b=1", "a;' \u200b=1"), ("a\tb", "a\tb"), ("a\t=1", "a\t'=1"),
        ("a\r\n+1", "a\r'\n'+1"),
        ("\ufeff=1", "'\ufeff=1"), ("\x00=1", "'\x00=1"), (" =1", "' =1"), ("\r=1", "'\r'=1"),
        ("\tx", "'\tx"), ("", ""), ("a=1", "a=1"), ("a,-1", "a,-1"),
        ('["a",-1]', '["a",-1]'), ("é", "é"),
    ],
)  # fmt: skip
def test_no_text_becomes_a_formula_in_any_spreadsheet(text: str, expected: str) -> None:
    assert cell(text) == expected


def test_numbers_stay_numbers() -> None:
    assert cell(-5) == -5
    assert cell(None) is None


def test_who_may_export(rows: Any, viewer: Client, staff: Client, stranger: Client) -> None:
    clerk = signed_in(person("clerk", "view_connectionlog", "export_log"))
    blind = signed_in(person("blind", "export_log"))
    for model in LOGS:
        page = f"{APP}{model}/export/"
        assert viewer.get(page).status_code == 403
        assert "export/" not in viewer.get(f"{APP}{model}/").content.decode()
        assert staff.get(page).status_code == blind.get(page).status_code == 403
        assert stranger.get(page).status_code == 302
        allowed = clerk.get(page)
        assert allowed.status_code == (200 if model == "connectionlog" else 403)
        assert staff.get(f"{APP}{model}/trail/?user=alice").status_code == 403
        assert stranger.get(f"{APP}{model}/trail/?user=alice").status_code == 302
    assert "export/" in clerk.get(f"{APP}connectionlog/").content.decode()


def test_exports_are_entered_into_the_history_of_the_admin(root: Client, rows: Any) -> None:
    exported(root, f"{APP}connectionlog/export/?q=alice")
    entry = LogEntry.objects.get()
    assert entry.object_repr == "Connection log"
    assert "q=alice" in entry.change_message
    assert "Connection log" in root.get("/admin/").content.decode()


def test_what_cannot_be_written_to_is_exported_all_the_same(root: Client, rows: Any) -> None:
    refusal = OperationalError("attempt to write a readonly database")
    with mock.patch("djhookbox.admin.logs.exports.LogEntry.objects.create", side_effect=refusal):
        assert len(exported(root, f"{APP}connectionlog/export/")) == 1


@pytest.mark.django_db(transaction=True)
async def test_an_asynchronous_site_streams_too() -> None:
    from asgiref.sync import sync_to_async
    from django.contrib.auth.models import User

    client = AsyncClient()
    user = await sync_to_async(User.objects.create_superuser)("root")
    await client.aforce_login(user)
    await sync_to_async(fill)("connectionlog", 250, event="connect")
    response = await client.get(f"{APP}connectionlog/export/")
    assert response.is_async
    parts = [part async for part in response]
    assert len(parts) > 1
    assert len(b"".join(parts).splitlines()) == 251


# ---- payloads --------------------------------------------------------------------------------


def change(client: Client, row: Publication) -> str:
    return client.get(f"{APP}publication/{row.pk}/change/").content.decode()


def test_payloads_are_shown_to_those_who_may_see_them(
    root: Client, viewer: Client, db: None
) -> None:
    row = Publication.objects.create(
        channel="/a/", payload={"text": "hush"}, preview='{"text": "hush"}', source="code",
        status="sent",
    )  # fmt: skip
    for page in (f"{APP}publication/", f"{APP}publication/{row.pk}/change/"):
        assert "hush" in root.get(page).content.decode()
        assert "hush" not in viewer.get(page).content.decode()
    half = signed_in(person("half", "view_publication", "publish_message"))
    again = f"{APP}publication/{row.pk}/publish-again/"
    assert half.get(again).status_code == half.post(again).status_code == 403
    assert "publish-again" not in change(half, row)
    assert 'value="publish_again"' not in half.get(f"{APP}publication/").content.decode()


@pytest.mark.parametrize("page", ["", "export/"])
@pytest.mark.parametrize("column", ["payload", "preview"])
def test_filters_do_not_tell_what_is_in_payloads(
    root: Client, rows: Any, page: str, column: str
) -> None:
    clerk = signed_in(person("clerk", "view_publication", "export_log"))
    url = f"{APP}publication/{page}?{column}"
    for lookup in ("__icontains=Gr", "__startswith=%7B", "__isnull=0", "=1"):
        assert clerk.get(url + lookup).status_code == 400, lookup
        assert root.get(url + lookup).status_code in (200, 302), lookup
    assert clerk.get(f"{APP}publication/{page}?status__exact=failed").status_code == 200


@pytest.mark.parametrize("model", LOGS)
def test_no_address_brings_another_order(root: Client, rows: Any, model: str) -> None:
    for number in range(1, 9):
        found = root.get(f"{APP}{model}/?o={number}").context["cl"].queryset
        assert found.query.order_by == ("-created", "-id"), number


def test_long_payloads_are_folded(root: Client, db: None) -> None:
    short = Publication.objects.create(channel="/a/", payload=[1], source="code", status="sent")
    long = Publication.objects.create(
        channel="/a/", payload=["x" * 1000] * 1000, source="code", status="sent"
    )
    assert '<details class="hookbox-payload" open>' in change(root, short)
    page = change(root, long)
    assert '<details class="hookbox-payload">' in page
    assert "1,002 lines" in page
    with CaptureQueriesContext(connection) as queries:
        root.get(f"{APP}publication/")
    assert not any('"payload"' in q["sql"] for q in queries.captured_queries), "lists leave it"
    assert root.get(f"{APP}publication/{long.pk}/publish-again/").status_code == 200


def test_deeply_nested_payloads_are_shown(root: Client, db: None) -> None:
    # MariaDB, whose JSON columns are texts that it checks, refuses more than 32 levels.
    depth = 30 if connection.vendor == "mysql" else 850
    row = Publication.objects.create(
        channel="/a/", payload=json.loads("[" * depth + "]" * depth), source="code", status="sent"
    )
    assert change(root, row).count("[") >= depth
    again = root.get(f"{APP}publication/{row.pk}/publish-again/")
    assert again.content.decode().count("[") >= depth


def test_halves_of_characters_are_shown_and_exported_as_escapes(root: Client, db: None) -> None:
    if connection.vendor in ("postgresql", "mysql"):
        pytest.skip(f"{connection.vendor} stores none")
    row = Publication.objects.create(
        channel="/a/", payload=["\ud83d"], source="code", status="sent"
    )
    assert "\\ud83d" in change(root, row)
    again = root.get(f"{APP}publication/{row.pk}/publish-again/")
    assert json.loads(again.context["form"]["payload"].value()) == ["\ud83d"]
    (found,) = exported(root, f"{APP}publication/export/")
    assert json.loads(found["payload"]) == ["\ud83d"]


def test_what_cannot_be_written_in_lines_is_written_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = json.dumps

    def dumps(value: object, **options: Any) -> str:
        if options.get("indent"):
            raise RecursionError  # at a depth that differs among Pythons
        return original(value, **options)

    monkeypatch.setattr(json, "dumps", dumps)
    assert pretty_json([["ü"]]) == '[["ü"]]'


@pytest.mark.parametrize("kept", ["masked", "nothing"])
def test_what_is_not_whole_is_not_published_again(
    root: Client, rows: Any, hookbox: Hookbox, kept: str
) -> None:
    row = Publication.objects.create(
        channel="/front/", payload={"pin": "***"}, preview="{}", source="code", status="sent",
        kept=kept,
    )  # fmt: skip
    page = change(root, row)
    assert "publish-again" not in page
    assert "publication/publish/?channel=%2Ffront%2F" in page
    assert "HOOKBOX_REDACT" in page if kept == "masked" else "HOOKBOX_STORE_PAYLOADS" in page
    again = f"{APP}publication/{row.pk}/publish-again/"
    for response in (root.get(again, follow=True), root.post(
        again, {"channel": "/front/", "payload": "1"}, follow=True)):  # fmt: skip
        assert any("cannot be published again" in text for text in messages_of(response))
    both = [row.pk, rows["publication"].pk]
    data = {"action": "publish_again", "_selected_action": [row.pk], "confirmed": "1"}
    root.post(f"{APP}publication/", data)
    assert hookbox.published == []
    root.post(f"{APP}publication/", {**data, "_selected_action": both})
    assert len(hookbox.published) == 1


def test_a_failed_one_says_why_and_is_tried_again(
    root: Client, rows: Any, hookbox: Hookbox
) -> None:
    row = rows["publication"]
    assert "It was down." in root.get(f"{APP}publication/").content.decode()
    assert "Edit and try again…" in change(root, row)
    again = f"{APP}publication/{row.pk}/publish-again/"
    assert "It was down." in root.get(again).content.decode()
    root.post(again, {"channel": "/front/", "payload": "2"})
    assert hookbox.published == [("/front/", "2")]
    assert "Published again, reached 2" in LogEntry.objects.get(object_id=row.pk).change_message


def test_publishing_several_again_is_entered_for_those_that_were_sent(
    root: Client, rows: Any, hookbox: Hookbox
) -> None:
    refused = Publication.objects.create(channel="/no/", payload=0, source="code", status="sent")
    data = {
        "action": "publish_again", "confirmed": "1",
        "_selected_action": [refused.pk, rows["publication"].pk],
    }  # fmt: skip
    root.post(f"{APP}publication/", data)
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(rows["publication"].pk)]


# ---- facts and notes -------------------------------------------------------------------------


def test_a_note_does_not_undo_what_has_become_known_meanwhile(root: Client, db: None) -> None:
    row = Publication.objects.create(channel="/a/", payload=1, source="client", status="sent")

    def save(self: Any, *args: Any, **kwargs: Any) -> None:
        Publication.objects.filter(pk=row.pk).update(delivered=7)
        original(self, *args, **kwargs)

    original = Publication.save
    with mock.patch.object(Publication, "save", save):
        root.post(f"{APP}publication/{row.pk}/change/", {"note": "seen"})
    row.refresh_from_db()
    assert (row.note, row.delivered) == ("seen", 7)


@pytest.mark.parametrize("model", LOGS)
def test_a_database_that_is_only_read_is_no_crash(root: Client, rows: Any, model: str) -> None:
    row = rows[model]
    refusal = OperationalError("attempt to write a readonly database")
    with mock.patch.object(type(row), "save", side_effect=refusal):
        response = root.post(f"{APP}{model}/{row.pk}/change/", {"note": "x"}, follow=True)
    assert response.status_code == 200
    assert any("readonly" in text for text in messages_of(response))
    with (
        mock.patch("django.db.models.query.QuerySet.delete", side_effect=refusal),
        mock.patch.object(type(row), "delete", side_effect=refusal),
    ):
        page = f"{APP}{model}/{row.pk}/delete/"
        assert root.post(page, {"post": "yes"}, follow=True).status_code == 200
        data = {"action": "delete_selected", "post": "yes", "_selected_action": [row.pk]}
        assert root.post(f"{APP}{model}/", data, follow=True).status_code == 200
    assert type(row).objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", LOGS)
def test_facts_stay_and_the_note_is_written(root: Client, rows: Any, model: str) -> None:
    row = rows[model]
    before = {f.name: getattr(row, f.name) for f in row._meta.fields if f.name != "note"}
    data = dict.fromkeys(before, "forged") | {"note": "looked at"}
    response = root.post(f"{APP}{model}/{row.pk}/change/", data)
    assert response.status_code == 302
    row.refresh_from_db()
    assert row.note == "looked at"
    assert {name: getattr(row, name) for name in before} == before
    assert root.get(f"{APP}{model}/add/").status_code == 403


@pytest.mark.parametrize("model", LOGS)
def test_rows_are_deleted_with_the_permission_only(viewer: Client, rows: Any, model: str) -> None:
    page = f"{APP}{model}/{rows[model].pk}/delete/"
    assert viewer.post(page, {"post": "yes"}).status_code == 403
    cleaner = signed_in(person("cleaner", f"view_{model}", f"delete_{model}"))
    assert cleaner.post(page, {"post": "yes"}).status_code == 302
    assert not type(rows[model]).objects.exists()


def test_all_rows_of_a_log_are_never_selected_at_once(root: Client, rows: Any) -> None:
    ConnectionLog.objects.bulk_create(ConnectionLog(event="connect") for _ in range(60))
    page = root.get(f"{APP}connectionlog/").content.decode()
    assert 'class="question' not in page  # no link that selects what no page shows
    assert "action-counter" in page  # without which Django's script for actions stops
    data = {
        "action": "delete_selected", "select_across": "1", "post": "yes",
        "_selected_action": [rows["connectionlog"].pk],
    }  # fmt: skip
    root.post(f"{APP}connectionlog/", data)
    assert ConnectionLog.objects.count() == 60
