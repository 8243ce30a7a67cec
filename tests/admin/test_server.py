"""The server page: each state, each switch, and who may use it."""

from __future__ import annotations

import datetime
import html
import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from djhookbox._version import __version__
from djhookbox.admin.server.problems import KINDS
from djhookbox.client import calls
from djhookbox.client.http import rest_call as genuine_rest_call
from djhookbox.exceptions import HookboxMisconfigured, HookboxRefused
from djhookbox.models import Outbox, Revocation
from djhookbox.process import control
from djhookbox.process.control import ProcessError, ProcessStatus, State
from djhookbox.server.problems import NAMES
from djhookbox.wire.answers import NodeInfo, Problem, ServerInfo
from djhookbox.wire.records import read, write

from ..stand_ins.process import Answer, Request, fake_hookbox
from .stand_in import APP, NASTY, REPORT, Hookbox, messages_of, person, signed_in

PAGE = f"{APP}server/"


@pytest.fixture
def operator(db: None) -> Client:
    return signed_in(person("operator", "control_server"))


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def found(**known: Any) -> None:
        now = ProcessStatus(message="So it is.", **known)
        monkeypatch.setattr(control, "status", lambda ask=None: now)

    return found


def test_several_processes_are_listed(viewer: Client, hookbox: Hookbox) -> None:
    info = replace(read(ServerInfo, REPORT, lenient=True), version=__version__)
    mine = NodeInfo("a" * 16, "web-1:8001/1", 77, __version__, 1_795_000_000.0, 5, 4, 3, 0.0021)
    mine = replace(mine, round_trip=0.0068)
    other = NodeInfo("b" * 16, NASTY[0], version=__version__, alive=False)
    hookbox.answers["get_server_info"] = write(replace(info, nodes=(mine,)))
    assert "Processes" not in viewer.get(PAGE).content.decode()
    hookbox.answers["get_server_info"] = write(replace(info, nodes=(mine, other)))
    page = viewer.get(PAGE).content.decode()
    for text in (
        "Processes",
        "web-1:8001/1",
        "2 ms",
        "Redis",
        "7 ms",
        "Not reporting",
        escape(NASTY[0]),
    ):
        assert text in page
    assert NASTY[0] not in page
    third = replace(mine, id="c" * 16, connections=7)
    hookbox.answers["get_server_info"] = write(replace(info, nodes=(mine, third, other)))
    page = viewer.get(PAGE).content.decode()
    assert '<dt>Connections, all processes</dt><dd><bdi data-count="connections">12</bdi>' in page


def test_processes_of_different_versions(viewer: Client, hookbox: Hookbox) -> None:
    info = replace(read(ServerInfo, REPORT, lenient=True), version=__version__)
    nodes = tuple(
        NodeInfo(str(number), version=version, alive=alive)
        for number, (version, alive) in enumerate(
            [(__version__, True), ("0.9.1", True), ("0.8.0", False)]
        )
    )
    hookbox.answers["get_server_info"] = write(replace(info, nodes=nodes))
    page = html.unescape(viewer.get(PAGE).content.decode())
    assert f"Processes run different versions: 0.9.1, {__version__}. Restart those" in page


def test_what_runs_is_described(viewer: Client, hookbox: Hookbox) -> None:
    page = viewer.get(PAGE).content.decode()
    for text in ("Running", "4121", "3 days, 3:52 h", "memory", "Connections"):
        assert text in page
    assert "/stop/" not in page


def test_nothing_secret_is_shown(root: Client, settings: Any) -> None:
    settings.HOOKBOX_REST_SECRET = "open-sesame"
    settings.HOOKBOX_WEBHOOK_SECRET = "shut-sesame"
    assert "sesame" not in root.get(PAGE).content.decode()


@pytest.mark.parametrize("state", list(State))
def test_each_state_has_a_word_and_a_next_step(
    operator: Client, viewer: Client, pretend: Any, state: State
) -> None:
    pretend(state=state)
    response = operator.get(PAGE)
    assert response.status_code == 200
    assert "So it is." in response.content.decode()
    assert bool(response.context["next_step"]) == (state != State.RUNNING)
    assert viewer.get(PAGE).status_code == 200


def test_switches_show_where_they_work(operator: Client, viewer: Client, pretend: Any) -> None:
    pretend(state=State.RUNNING, identified=True)
    page = operator.get(PAGE).content.decode()
    assert f"{PAGE}stop/" in page
    assert f"{PAGE}restart/" in page
    assert f"{PAGE}start/" not in page
    assert f"{PAGE}stop/" not in viewer.get(PAGE).content.decode()
    pretend(state=State.STOPPED)
    page = operator.get(PAGE).content.decode()
    assert f"{PAGE}start/" in page
    assert f"{PAGE}stop/" not in page
    assert f"{PAGE}start/" not in viewer.get(PAGE).content.decode()


def test_without_process_control_there_are_no_switches(
    operator: Client, hookbox: Hookbox, settings: Any
) -> None:
    settings.HOOKBOX_PROCESS_CONTROL = False
    hookbox.running = False
    page = operator.get(PAGE).content.decode()
    assert "HOOKBOX_PROCESS_CONTROL is off" in page
    assert "manage.py runhookbox" in page
    assert f"{PAGE}start/" not in page
    response = operator.post(f"{PAGE}start/", follow=True)
    assert any("HOOKBOX_PROCESS_CONTROL is off" in text for text in messages_of(response))


@pytest.mark.parametrize("name", ["start", "stop", "restart"])
def test_a_switch_acts_by_post_and_leaves_a_line(
    operator: Client, pretend: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pretend(state=State.RUNNING, identified=True, pid=77)
    pressed: list[str] = []

    def operate(pid: int | None = None) -> ProcessStatus:
        pressed.append(name)
        return control.status()

    monkeypatch.setattr(control, name, operate)
    assert operator.get(f"{PAGE}{name}/").status_code == (302 if name == "start" else 200)
    assert operator.delete(f"{PAGE}{name}/").status_code == 405
    assert not pressed
    response = operator.post(f"{PAGE}{name}/", follow=True)
    assert pressed == [name]
    assert len(messages_of(response)) == 1
    entry = LogEntry.objects.get()
    assert entry.change_message.lower().startswith(name)
    assert entry.object_repr == "Hookbox"
    assert operator.get("/admin/").status_code == 200


@pytest.mark.parametrize("name", ["stop", "restart"])
def test_a_switch_means_the_process_that_the_question_was_about(
    operator: Client, pretend: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pretend(state=State.RUNNING, control=True, identified=True, pid=1077)
    page = operator.get(f"{PAGE}{name}/").content.decode()
    assert '<input type="hidden" name="pid" value="1077">' in page
    assert "data-hookbox-progress=" in page
    meant: list[int | None] = []

    def operate(pid: int | None = None) -> ProcessStatus:
        meant.append(pid)
        raise control.OtherProcess("It is another one.")

    monkeypatch.setattr(control, name, operate)
    for form in ({"pid": "1077"}, {}, {"pid": "x"}):
        response = operator.post(f"{PAGE}{name}/", form, follow=True)
        assert messages_of(response) == ["It is another one."]
        assert [message.level_tag for message in response.context["messages"]] == ["warning"]
    assert meant == [1077, None, None]
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (State.RUNNING, "success"),
        (State.SECRET_REFUSED, "warning"),
        (State.VERSION_DIFFERS, "warning"),
        (State.UNREACHABLE, "warning"),
    ],
)
def test_only_what_works_is_a_success(
    operator: Client, pretend: Any, monkeypatch: pytest.MonkeyPatch, state: State, level: str
) -> None:
    pretend(state=state, pid=77)
    monkeypatch.setattr(control, "restart", lambda pid=None: control.status())
    response = operator.post(f"{PAGE}restart/", follow=True)
    assert [message.level_tag for message in response.context["messages"]] == [level]


@pytest.mark.parametrize(
    ("connections", "words"),
    [
        (1284, "1284 connections are dropped."),
        (1, "1 connection is dropped."),
        (0, "Nobody is currently connected"),
        (None, "All connections are dropped."),
    ],
)
def test_the_question_names_the_effect(
    operator: Client, pretend: Any, connections: int | None, words: str
) -> None:
    pretend(state=State.RUNNING, identified=True, connections=connections)
    for name in ("stop", "restart"):
        assert words in operator.get(f"{PAGE}{name}/").content.decode()


def test_a_question_about_what_is_not_ours_leads_back(operator: Client, pretend: Any) -> None:
    pretend(state=State.RUNNING)
    response = operator.get(f"{PAGE}stop/", follow=True)
    assert response.redirect_chain == [(PAGE, 302)]
    assert messages_of(response) == ["So it is."]


def test_a_failure_is_a_sentence_and_the_log_is_shown(
    operator: Client, pretend: Any, monkeypatch: pytest.MonkeyPatch, viewer: Client, tmp_path: Path
) -> None:
    pretend(state=State.UNREACHABLE, identified=True)
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    (folder / "hookbox.log").write_text("first\nImportError: not in a module <named> x\n")

    def fail() -> ProcessStatus:
        raise ProcessError("The process ended immediately. See its log file.")

    monkeypatch.setattr(control, "start", fail)
    response = operator.post(f"{PAGE}start/", follow=True)
    assert messages_of(response) == ["The process ended immediately. See its log file."]
    assert "not in a module &lt;named&gt; x" in response.content.decode()
    assert not LogEntry.objects.exists()
    assert "not in a module" not in viewer.get(PAGE).content.decode(), "not for those who only look"


def test_there_is_nothing_but_the_page(root: Client) -> None:
    assert root.get(f"{PAGE}add/").status_code == 404
    assert root.get(f"{PAGE}1/change/").status_code == 404
    assert f'href="{PAGE}"' in root.get("/admin/").content.decode()


# ---- what is going on ------------------------------------------------------------------------


def test_figures_and_lists_are_shown(viewer: Client, hookbox: Hookbox) -> None:
    page = viewer.get(PAGE).content.decode()
    for text in ("87.0", "4,120.0", "23 ms", "Failed webhooks", "/chat/a/", "120", "3.1"):
        assert text in page, text
    assert "Part 1 of 18 (342 in total)" in page
    assert "2011-03-13 07:06" in page, "alice has been there for long"
    assert "WebSocket" in page
    assert page.count('<svg class="hookbox-spark"') == 2
    assert "minimum 0.0, maximum 2.5, now 1.2" in page


def test_names_of_all_kinds_are_text_and_lead_to_their_pages(
    viewer: Client, hookbox: Hookbox
) -> None:
    page = viewer.get(PAGE).content.decode()
    for name in NASTY:
        assert f'<bdi data-field="name">{escape(name)}</bdi>' in page
    for href in re.findall(r'href="([^"]*channel/[^"]+)"', page):
        assert viewer.get(html.unescape(href)).status_code == 200
    assert "<b>" not in page


def test_a_search_is_the_server_s_business(viewer: Client, hookbox: Hookbox) -> None:
    page = viewer.get(PAGE, {"channel": "<x>", "user": "a" * 300}).content.decode()
    call, form = hookbox.calls[-1]
    assert (call, form) == (
        "get_server_info", {"report": "1", "channel": "<x>", "user": "a" * 255},
    )  # fmt: skip
    assert 'value="&lt;x&gt;"' in page
    assert 'name="channel" value="&lt;x&gt;"' in page, "the other search keeps it"


def test_parts_and_orders_of_a_list_keep_the_place_of_the_other(
    viewer: Client, hookbox: Hookbox
) -> None:
    query = {"channel": "<x>", "channel_page": "3", "user_sort": "unsent", "channel_sort": "odd"}
    response = viewer.get(PAGE, query)
    assert hookbox.calls[-1][1] == {
        "report": "1", "channel": "<x>", "channel_page": "3", "user_sort": "unsent",
    }  # fmt: skip
    page = html.unescape(response.content.decode())
    kept = "user_sort=unsent&channel=%3Cx%3E"
    for link in (
        f"?{kept}&channel_page=2#hookbox-channels-title",
        f"?{kept}&channel_page=4#hookbox-channels-title",
        f"?{kept}&channel_sort=rate#hookbox-channels-title",
        "?channel=%3Cx%3E&channel_page=3&user_sort=oldest#hookbox-connections-title",
    ):
        assert f'href="{link}"' in page, link
    assert "<strong>most waiting bytes</strong>" in page
    steps = response.context["channel_steps"]
    assert (steps.page, steps.pages) == (3, "18")
    assert dict(steps.hidden) == {"user_sort": "unsent"}
    for odd in ("0", "-1", "x", "²", "9" * 30):
        steps = viewer.get(PAGE, {"channel_page": odd}).context["channel_steps"]
        assert (steps.page, steps.previous) == (1, "")
    last = viewer.get(PAGE, {"channel_page": "18"}).context["channel_steps"]
    assert last.next == ""
    beyond = viewer.get(PAGE, {"channel_page": "400"}).context["channel_steps"]
    assert "channel_page=18" in beyond.previous


def test_an_older_process_lists_more_than_the_page_shows(
    viewer: Client, hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [{"name": f"/{number}/", "subscribers": 1} for number in range(100)]
    monkeypatch.setitem(REPORT, "channel_list", {"total": 100, "listed": listed})
    page = viewer.get(PAGE).content.decode()
    assert page.count('<tr><th scope="row">') <= 22 + 2
    assert "/19/" in page
    assert "/20/" not in page


def test_channels_are_ticked_by_those_who_may_publish(viewer: Client, root: Client) -> None:
    for page in (PAGE, f"{PAGE}live/"):
        assert "checkbox" not in viewer.get(page).content.decode()
        text = root.get(page).content.decode()
        box = '<input type="checkbox" name="channel" value="/chat/a/" form="hookbox-ticked">'
        assert f"<label>{box}" in text
        assert f'<form method="get" id="hookbox-ticked" action="{APP}publishing/"' in text
        assert f'value="{escape(NASTY[0])}"' in text


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"channel_list": None, "connection_list": 7, "rates": [], "webhooks": "x"},
        {"channel_list": {"total": "x", "listed": []}, "connection_list": {"total": 1}},
        {"channel_list": {"total": 1, "listed": [7, {}, {"name": 3}, {"name": "", "rate": "y"}]},
         "connection_list": {"total": 9, "listed": [None, {"id": 1}, {"id": "i", "user": "u",
                             "since": 1e300, "transport": ["x"], "channels": None}]},
         "rates": {"in": ["x", None, -1, True], "out": {}}},
        {"version": 7, "pid": "x", "uptime": "long", "connections": "many", "users": True},
        {"connection_list": {"total": 1, "listed": [{"id": "i", "user": "u", "since": "now"}]},
         "channel_list": {"total": 0, "listed": []}},
        *({"uptime": endless, "pid": endless, "connections": endless,
           "messages_in_per_second": endless, "webhooks": {"p95_ms": endless},
           "rates": {"in": [endless, 1]}} for endless in (math.nan, math.inf, 10**400)),
    ],
)  # fmt: skip
def test_whatever_another_version_says_is_no_reason_to_fail(
    root: Client, hookbox: Hookbox, odd: dict[str, Any]
) -> None:
    hookbox.answers["get_server_info"] = odd
    for page in (PAGE, f"{PAGE}live/"):
        assert root.get(page).status_code == 200


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (HookboxRefused("Unknown call", status=404), "Version mismatch"),
        (HookboxMisconfigured("no", status=200, code="secret"), "Secret rejected"),
        (HookboxMisconfigured("no", status=200), "Not a Hookbox process"),
        (HookboxMisconfigured("HOOKBOX_PORT must be a number."), "Misconfigured"),
        (HookboxMisconfigured("bad gateway", status=502), "Stopped"),
    ],
)
def test_bad_days(root: Client, hookbox: Hookbox, error: Exception, words: str) -> None:
    hookbox.answers["get_server_info"] = error
    for page in (PAGE, f"{PAGE}live/"):
        text = root.get(page).content.decode()
        assert words in text
        assert "hookbox-channels-title" not in text
    for page in ("channel/?name=/a/", "user/?name=alice"):
        assert root.get(f"{PAGE}{page}").status_code == 200


def test_a_process_that_takes_too_long(
    root: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page without live data, after one time limit and not after two."""
    monkeypatch.setattr(calls, "rest_call", genuine_rest_call)
    released = threading.Event()

    def late(request: Request) -> Answer:
        released.wait(30)
        return Answer()

    with fake_hookbox() as fake:
        fake.answer = late
        settings.HOOKBOX_REST_URL = fake.url
        settings.HOOKBOX_TIMEOUT = 0.1
        try:
            for page in (PAGE, f"{PAGE}live/", f"{PAGE}user/?name=a", f"{PAGE}channel/?name=a"):
                fake.requests.clear()
                response = root.get(page)
                assert response.status_code == 200
                assert len(fake.requests) == 1, page
            assert "did not answer within 0.1 seconds" in response.content.decode()
            assert "Not responding" in root.get(PAGE).content.decode()
        finally:
            released.set()


def test_one_call_to_the_process_and_few_queries(viewer: Client, hookbox: Hookbox) -> None:
    viewer.get(PAGE)
    for page in (PAGE, f"{PAGE}live/"):
        hookbox.calls.clear()
        with CaptureQueriesContext(connection) as queries:
            viewer.get(page)
        assert len(hookbox.calls) == 1, "a slow process costs two seconds, not four"
        # Session, user, the user's permissions and those of the groups; publications and
        # revocations that wait; charts.
        assert len(queries) <= 7, queries.captured_queries


def test_what_the_system_checks_find_is_shown(
    viewer: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    root = signed_in(person("second", "view_server"))
    page = root.get(PAGE).content.decode()
    assert "djhookbox.W009" in page
    settings.SILENCED_SYSTEM_CHECKS = ["djhookbox.W009"]
    assert "djhookbox.W009" not in root.get(PAGE).content.decode()


def test_findings_name_no_secret(root: Client, settings: Any) -> None:
    settings.HOOKBOX_REST_SECRET = ["open-sesame", 7]
    page = root.get(PAGE)
    assert page.status_code == 200
    assert "djhookbox.E001" in page.content.decode()
    assert "sesame" not in page.content.decode()


# ---- the live part ---------------------------------------------------------------------------


def test_nothing_new_is_an_empty_answer(root: Client, hookbox: Hookbox) -> None:
    first = root.get(f"{PAGE}live/")
    assert "<html" not in first.content.decode()
    assert "private" in first["Cache-Control"]
    again = root.get(f"{PAGE}live/", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    for change in (
        lambda: setattr(hookbox, "connections", 6),
        lambda: setattr(hookbox, "running", False),
        lambda: setattr(hookbox, "running", True),
    ):
        before = root.get(f"{PAGE}live/")["ETag"]
        change()
        fresh = root.get(f"{PAGE}live/", headers={"If-None-Match": before})
        assert fresh.status_code == 200
        assert fresh["ETag"] != before


def test_the_tag_depends_on_who_looks(root: Client, viewer: Client, hookbox: Hookbox) -> None:
    tags = {client.get(f"{PAGE}live/")["ETag"] for client in (root, viewer)}
    assert len(tags) == 2, "the one may disconnect, the other not"


def test_the_channel_is_offered_to_those_who_may_read_it(
    root: Client, viewer: Client, operator: Client
) -> None:
    for who in (root, viewer):
        assert who.get(PAGE).context["live"]["channel"] == "djhookbox:server"
    assert operator.get(PAGE).context["live"]["channel"] == "", "he would be refused"


def test_numbers_are_written_as_the_script_writes_them(root: Client, settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    response = root.get(PAGE)
    assert (response.context["live"]["decimal"], response.context["live"]["group"]) == (",", ".")
    assert "4.120,0" in response.content.decode()


# ---- when the database takes nothing ---------------------------------------------------------


def refuse_writing(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if sql.split(None, 1)[0] in ("INSERT", "UPDATE", "DELETE"):
        raise OperationalError("attempt to write a readonly database")
    return execute(sql, params, many, context)


def test_a_deed_that_cannot_be_entered_is_done_all_the_same(
    operator: Client, pretend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(state=State.RUNNING, identified=True, pid=77)
    monkeypatch.setattr(control, "stop", lambda pid: control.status())
    with connection.execute_wrapper(refuse_writing):
        response = operator.post(f"{PAGE}stop/", follow=True)
    assert response.status_code == 200
    assert len(messages_of(response)) == 2
    assert "Hookbox has been stopped." in messages_of(response)
    assert not LogEntry.objects.exists()


def test_what_waits_in_the_outbox_is_shown(
    viewer: Client, hookbox: Hookbox, capsys: pytest.CaptureFixture[str]
) -> None:
    page = viewer.get(PAGE).content.decode()
    assert "Waiting in the outbox" not in page
    row = {"channel": "/a/", "payload": "1", "source": "code", "opened_by": "policy:a"}
    Outbox.objects.create(**row)
    Outbox.objects.create(**row, failed=True, error="No policy.")
    page = viewer.get(PAGE).content.decode()
    assert "1 (the oldest for 0 s)" in page
    assert "1 message to a durable channel was not published." in page
    assert f'href="{PAGE}outbox/">Show why</a>' in page
    assert "have been waiting" not in page
    Outbox.objects.update(created=timezone.now() - datetime.timedelta(seconds=20))
    page = viewer.get(PAGE).content.decode()
    assert "1 (the oldest for 20 s)" in page
    assert "have been waiting" in page
    # The process does not know these rows; this is where a script finds the same figures.
    with pytest.raises(SystemExit) as ended:
        call_command("hookbox", "outbox", "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["waiting"], said["failed"], ended.value.code) == (1, 1, 1)
    assert 20 <= said["seconds"] < 40


def test_waiting_revocations_are_shown(viewer: Client, hookbox: Hookbox) -> None:
    Revocation.objects.all().delete()
    assert "revocations" not in viewer.get(PAGE).content.decode()
    Revocation.objects.create(key="k", text="{}", created=timezone.now())
    Revocation.objects.create(key="l", text="{}", created=timezone.now(), number=1)
    page = viewer.get(PAGE).content.decode()
    assert "Waiting revocations" in page
    assert "1 (the oldest for 0 s)" in page
    assert "have been waiting" not in page
    Revocation.objects.update(created=timezone.now() - datetime.timedelta(seconds=20))
    page = viewer.get(PAGE).content.decode()
    assert "1 (the oldest for 20 s)" in page
    assert "Revocations, such as logouts, have been waiting" in page


# ---- problems --------------------------------------------------------------------------------


def report_with(hookbox: Hookbox, *problems: Problem) -> None:
    info = replace(
        read(ServerInfo, REPORT), version=__version__, pid=4121, uptime=10.0, engine="memory",
        connections=5, users=4, channels=3, problems=problems,
    )  # fmt: skip
    hookbox.answers["get_server_info"] = write(info)


def test_nothing_is_fine_beside_failed_webhooks(root: Client, hookbox: Hookbox) -> None:
    assert "attention" not in root.get(f"{APP}server/").content.decode()
    since = timezone.now().timestamp()
    report_with(
        hookbox, Problem("webhooks_failed", 804, 9000, since),
        Problem("too_slow", 3, None, since - 3 * 86_400), Problem("from the future", 1),
        Problem("unsent", 120_000_000, 134_217_728), Problem("webhooks_slow", 1.25),
    )  # fmt: skip
    for page in ("", "live/"):
        text = root.get(f"{APP}server/{page}").content.decode()
        assert "Everything is fine." not in text
        assert "4 problems need attention." in text
        assert "804 of 9,000 webhooks failed in the last ten minutes." in text
        assert "5% of the webhooks take longer than 1.2 s." in text
        assert "114.4\xa0MB of 128.0\xa0MB wait for clients" in text
        assert text.count('<span class="quiet">(since') == 2
        assert "from the future" not in text
        assert 'connectionlog/?event__exact=disconnect">Show entries</a>' in text
        assert 'server/?user_sort=unsent">Show connections</a>' in text
        assert text.count('server/charts/">Show charts</a>') == 2


def test_rows_are_linked_for_those_who_may_see_them(db: None, hookbox: Hookbox) -> None:
    report_with(hookbox, Problem("too_slow", 3))
    reader = signed_in(person("reader", "view_server"))
    text = reader.get(f"{APP}server/").content.decode()
    assert "1 problem needs attention." in text
    assert "connectionlog/?event" not in text


def test_each_problem_of_the_server_has_words(root: Client, hookbox: Hookbox) -> None:
    assert set(KINDS) == set(NAMES)
    report_with(hookbox, *(Problem(name, 7, 70, 1.3e9) for name in KINDS))
    text = root.get(f"{APP}server/").content.decode()
    assert text.count("hookbox-badge hookbox-warning") >= 12
    assert "%(" not in text
