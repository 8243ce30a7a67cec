"""`manage.py hookbox` and its subcommands."""

from __future__ import annotations

import datetime
import io
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from djhookbox import quickstart
from djhookbox.commandline import completion, tailing
from djhookbox.commandline.completion import candidates
from djhookbox.commandline.tailing import Watch
from djhookbox.decisions.trials import attempt
from djhookbox.exceptions import HookboxRefused, HookboxUnreachable
from djhookbox.management.commands import hookbox
from djhookbox.models import ChannelPolicy, ConnectionLog, Outbox, Publication, SubscriptionLog
from djhookbox.policy.rules import Operation
from djhookbox.testing import capture_publications
from djhookbox.wire import answers

pytestmark = pytest.mark.django_db


def run(*arguments: str, status: int = 0) -> str:
    """Run a subcommand and return what it prints; errors are printed as well."""
    out = io.StringIO()
    ended = 0
    try:
        call_command("hookbox", *arguments, stdout=out, stderr=out, no_color=True)
    except SystemExit as error:
        ended = int(error.code or 0)
    except CommandError as error:
        out.write(str(error))
        ended = error.returncode
    assert ended == status, out.getvalue()
    return out.getvalue()


def run_json(*arguments: str, status: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", status=status))


# ---- quickstart ----------------------------------------------------------------------------------


def test_the_quick_start_opens_one_channel_for_reading(settings: Any) -> None:
    settings.DEBUG = True
    text = run("quickstart")
    assert "“Quick start” has been created" in text
    assert "http://127.0.0.1:8000/hookbox/quickstart/" in text
    nobody = AnonymousUser()
    assert attempt(nobody, "/quickstart/", Operation.SUBSCRIBE).allowed
    assert not attempt(nobody, "/quickstart/", Operation.PUBLISH).allowed
    assert not attempt(nobody, "/quickstart/other/", Operation.SUBSCRIBE).allowed
    assert "exists" in run("quickstart")
    assert run_json("quickstart")["works"] is True
    assert ChannelPolicy.objects.count() == 1
    assert "has been deleted" in run("quickstart", "--remove")
    assert not ChannelPolicy.objects.exists()
    assert run_json("quickstart", "--remove") == {"removed": False}


def test_the_quick_start_opens_nothing_in_production(settings: Any) -> None:
    settings.DEBUG = False
    assert "DEBUG" in run("quickstart", status=2)
    assert not ChannelPolicy.objects.exists()
    ChannelPolicy.objects.create(name="Quick start", pattern="/quickstart/")
    run("quickstart", "--remove")  # what came along with a copied database can go
    assert not ChannelPolicy.objects.exists()


def test_the_quick_start_says_what_is_missing(settings: Any, make_policy: Any) -> None:
    settings.DEBUG = True
    make_policy("/<path:all>", name="Closed", order=-1, subscribe_audience="nobody")
    text = run("quickstart", status=1)
    assert "Closed" in text or "explain" in text
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert "include('djhookbox.urls')" in run("quickstart", status=2)


def test_the_page_exists_only_in_debug(settings: Any, client: Client) -> None:
    settings.DEBUG = False
    assert client.get("/hookbox/quickstart/").status_code == 404
    assert client.post("/hookbox/quickstart/").status_code == 404
    settings.DEBUG = True
    assert "Nobody may read" in client.get("/hookbox/quickstart/").content.decode()
    run("quickstart")
    page = client.get("/hookbox/quickstart/").content.decode()
    assert "Nobody may read" not in page
    assert "{% load djhookbox %}{% hookbox_script %}" in page


def test_the_page_publishes(settings: Any) -> None:
    settings.DEBUG = True
    quickstart.create_policy()
    browser = Client()
    with capture_publications() as sent:
        assert browser.post("/hookbox/quickstart/", {"text": "Hello"}).status_code == 302
        browser.post("/hookbox/quickstart/", {"text": " "})
    assert [one.payload for one in sent] == [{"text": "Hello"}, {"text": "It works."}]
    with capture_publications(error=HookboxUnreachable("It is down.")):
        assert "It is down." in browser.post("/hookbox/quickstart/").content.decode()
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/hookbox/quickstart/", {"text": "x"}).status_code == 403


# ---- publish -------------------------------------------------------------------------------------


def test_publish(make_policy: Any) -> None:
    make_policy("/a/")
    with capture_publications(delivered=2) as sent:
        assert "Sent to 2 connections." in run("publish", "/a/", '{"n": 1}', "--user", "bob")
        assert run_json("publish", "/a/", "null") == {"channel": "/a/", "delivered": 2}
        run("publish", "/a/", "just text", "--text")
        with mock.patch.object(sys, "stdin", io.StringIO("[1, 2]")):
            run("publish", "/a/", "-")
    assert [(one.payload, one.user) for one in sent] == [
        ({"n": 1}, "bob"), (None, ""), ("just text", ""), ([1, 2], ""),
    ]  # fmt: skip
    with capture_publications(delivered=0):
        assert "nobody is subscribed to /a/" in run("publish", "/a/", "1")
    assert Publication.objects.filter(source="code", status="sent").count() == 5


def test_publish_is_refused_or_fails(make_policy: Any) -> None:
    assert "No policy or handler opens" in run("publish", "/closed/", "1", status=1)
    assert run_json("publish", "/closed/", "1", status=1)["code"] == "refused"
    assert "--text" in run("publish", "/a/", "hello", status=2)
    assert "control characters" in run("publish", "/a\n/", "1", status=2)
    make_policy("/a/")
    with capture_publications(error=HookboxUnreachable("It is down.", code="unavailable")):
        assert "It is down." in run("publish", "/a/", "1", status=2)
        assert run_json("publish", "/a/", "1", status=2) == {
            "error": "It is down.", "code": "unavailable",
        }  # fmt: skip


def test_what_is_published_without_a_count(make_policy: Any, settings: Any) -> None:
    make_policy("/a/", durable=True)
    assert run("publish", "/a/", "1") == (
        "Stored. /a/ is durable; the Hookbox process sends the message next.\n"
    )
    assert run_json("publish", "/a/", "2") == {"channel": "/a/", "delivered": None}
    assert Outbox.objects.count() == 2
    settings.HOOKBOX_EXECUTABLE = "/bin/hookbox"
    make_policy("/b/")
    with mock.patch("djhookbox.client.publish", return_value=answers.Published(None)):
        assert "does not count connections" in run("publish", "/b/", "1")


# ---- who, kick -----------------------------------------------------------------------------------


def connected(*names: str, total: int | None = None) -> Any:
    found = answers.ConnectionList(
        total=len(names) if total is None else total,
        connections=tuple(
            answers.ListedConnection(f"id-{name}", name, "websocket", "192.0.2.1", 1e9, ("/a/",))
            for name in names
        ),
    )
    return mock.patch("djhookbox.client.list_connections", return_value=found)


def test_who_is_connected() -> None:
    with connected("alice", "bob", total=300) as asked:
        text = run("who")
        assert run_json("who", "--user", "bob")["total"] == 300
        assert asked.call_args.args == ("bob",)
    lines = text.splitlines()
    assert lines[0].split() == ["User", "Transport", "Since", "Address", "Channels"]
    assert lines[1].split() == [
        "alice", "websocket", "2001-09-09", "01:46:40", "192.0.2.1", "/a/",
    ]  # fmt: skip
    assert "2 of 300 connections" in lines[3]
    with connected():
        assert "Nobody is connected." in run("who")


def test_what_a_process_does_not_say_about_its_connections() -> None:
    found = answers.ConnectionList(1, (answers.ListedConnection("id-1"),))
    with mock.patch("djhookbox.client.list_connections", return_value=found):
        line = run("who").splitlines()[1]
    assert line.split()[:1] == ["-"]


def test_who_is_subscribed() -> None:
    info = {"name": "/a/", "subscribers": ["bob", "alice"], "options": {}}
    with mock.patch("djhookbox.client.get_channel_info", return_value=info) as asked:
        assert run("who", "/a/").split() == ["alice", "bob"]
        assert run_json("who", "/a/") == info
        missing = HookboxRefused("no such channel", code="no_channel")
        asked.side_effect = missing
        assert "Nobody is subscribed to /a/" in run("who", "/a/")
        assert run_json("who", "/a/")["subscribers"] == []
        asked.side_effect = HookboxRefused("no", code="refused")
        assert "no" in run("who", "/a/", status=1)
    assert "not both" in run("who", "/a/", "--user", "bob", status=2)


def test_kick() -> None:
    with mock.patch("djhookbox.client.disconnect", return_value=2) as close:
        assert "Closed 2 connections." in run("kick", "bob", "--reason", "Bye", "--code", "4001")
        assert close.call_args.kwargs == {
            "user": "bob", "connection": None, "reason": "Bye", "code": 4001,
        }  # fmt: skip
        assert run_json("kick", "--connection", "id-1") == {"disconnected": 2}
        assert close.call_args.kwargs["connection"] == "id-1"
        close.return_value = 0
        assert "No such connection" in run("kick", "bob", status=1)
    assert "--connection" in run("kick", status=2)


# ---- outbox, new-epochs, quickstart --------------------------------------------------------------


def test_what_was_done_is_printed_as_json(settings: Any) -> None:
    settings.DEBUG = True
    for done, option in (("discarded", "--discard"), ("tried_again", "--try-again")):
        Outbox.objects.create(
            channel="/a/", payload="1", failed=True, error="No.", created=timezone.now()
        )
        assert run_json("outbox", option) == {done: 1}
        assert run_json("outbox", option, status=1) == {done: 0}
    before = run_json("new-epochs")["incarnation"]
    assert run_json("new-epochs")["incarnation"] not in ("", before)
    assert "There is no policy" in run("quickstart", "--remove")


# ---- tail ----------------------------------------------------------------------------------------


def rows() -> None:
    now = timezone.now() - datetime.timedelta(minutes=1)
    tick = datetime.timedelta(seconds=1)
    Publication.objects.create(
        created=now, channel="/a/1/", user_name="bob", source="code", status="sent", delivered=3,
        payload={"n": 1}, preview='{"n": 1}',
    )  # fmt: skip
    SubscriptionLog.objects.create(
        created=now + tick, channel="/b/", user_name="eve", event="refused",
        decided_by="policy:B", reason="Only staff.",
    )  # fmt: skip
    ConnectionLog.objects.create(
        created=now + 2 * tick, user_name="eve", event="disconnect", transport="csp", code=1006
    )
    Publication.objects.create(
        created=now + 3 * tick, channel="/b/", user_name="eve", source="client", status="failed",
        error="down",
    )  # fmt: skip


def test_tail_prints_the_latest_rows_in_order() -> None:
    rows()
    lines = run("tail", "--no-follow").splitlines()
    assert [line.split()[1] for line in lines] == ["bob", "eve", "eve", "eve"]
    assert 'sent → 3  /a/1/  {"n": 1}' in lines[0]
    assert "(policy:B: Only staff.)" in lines[1]
    assert "disconnected  CSP  1006" in lines[2]
    assert "down" in lines[3]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--refused"], ["refused", "failed"]),
        (["/a/*"], ["sent"]),
        (["/b/"], ["refused", "failed"]),
        (["--user", "bob"], ["sent"]),
        (["--only", "connections"], ["disconnect"]),
        (["--only", "publications", "--only", "subscriptions"], ["sent", "refused", "failed"]),
        (["-n", "1"], ["failed"]),
        (["-n", "0"], []),
    ],
)
def test_tail_filters(arguments: list[str], expected: list[str]) -> None:
    rows()
    text = run("tail", "--no-follow", "--json", *arguments)
    found = [json.loads(line) for line in text.splitlines()]
    assert [each["event"] for each in found] == expected


def test_tail_follows_until_it_is_interrupted() -> None:
    rows()
    naps = 0

    def sleep(seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 2:
            raise KeyboardInterrupt
        Publication.objects.create(channel="/new/", source="code", status="sent")

    with mock.patch.object(tailing.time, "sleep", sleep):
        text = run("tail", "-n", "0", "--json")
    assert [json.loads(line)["channel"] for line in text.splitlines()] == ["/new/"]


def test_a_row_that_is_committed_late_is_not_missed() -> None:
    for pk in (10, 12):
        Publication.objects.create(pk=pk, channel=f"/{pk}/", source="code", status="sent")
    watch = Watch(Publication, lambda row: True)
    assert [row.pk for row in watch.latest(1)] == [12]
    assert list(watch.new()) == []
    for pk in (11, 13):
        Publication.objects.create(pk=pk, channel=f"/{pk}/", source="code", status="sent")
    assert [row.pk for row in watch.new()] == [11, 13]
    assert list(watch.new()) == []


def test_tail_warns_of_logs_that_are_turned_off(settings: Any) -> None:
    settings.HOOKBOX_LOG_SUBSCRIPTIONS = False
    assert "HOOKBOX_LOG_SUBSCRIPTIONS is off" in run("tail", "--no-follow")
    assert "is off" not in run("tail", "--no-follow", "--only", "publications")
    assert "negative" in run("tail", "-n", "-1", status=2)


# ---- explain, prune ------------------------------------------------------------------------------


def test_the_older_commands_are_aliases(make_policy: Any) -> None:
    make_policy("/a/", subscribe_audience="nobody")
    for command in (["hookbox", "explain"], ["hookbox_explain"]):
        out = io.StringIO()
        with pytest.raises(SystemExit) as ended:
            call_command(*command, "", "/a/", "--json", stdout=out)
        assert ended.value.code == 1
        assert json.loads(out.getvalue())["allowed"] is False
    old = timezone.now() - datetime.timedelta(days=99)
    for command in (["hookbox", "prune"], ["hookbox_prune"]):
        Publication.objects.create(created=old, channel="/a/", source="code", status="sent")
        out = io.StringIO()
        call_command(*command, "--days", "30", "--json", stdout=out)
        assert json.loads(out.getvalue())["publications"] == 1
    assert "explain" not in run("explain", "", "/b/", status=1)
    assert json.loads(run("prune", "--days", "30", "--dry-run", "--json"))["publications"] == 0


# ---- the command itself --------------------------------------------------------------------------


def test_wrong_arguments_are_mistakes() -> None:
    with pytest.raises(CommandError):
        call_command("hookbox")
    with pytest.raises(CommandError):
        call_command("hookbox", "unknown")


@pytest.mark.slow
def test_it_runs_in_a_shell(tmp_path: Any) -> None:
    """Django's options may follow the subcommand, too."""
    ran = subprocess.run(
        [sys.executable, "-m", "django", "hookbox", "completion", "bash",
         "--settings", "tests.settings"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "complete -o default -F _djhookbox" in ran.stdout


# ---- completion ----------------------------------------------------------------------------------

NAMES = [kind.name for kind in hookbox.SUBCOMMANDS]


@pytest.fixture
def live() -> Iterator[None]:
    channels = answers.ChannelList(2, (answers.ListedChannel("/rooms/7/"),))

    def list_channels(prefix: str) -> answers.ChannelList:
        return channels if "/rooms/7/".startswith(prefix) else answers.ChannelList()

    with (
        connected("alice", " _visitor"),
        mock.patch("djhookbox.client.list_channels", list_channels),
    ):
        yield


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["k"], ["kick"]),
        (["publish", "/"], ["/news/", "/rooms/7/"]),
        (["publish", "/r"], ["/rooms/7/"]),
        (["publish", "/rooms/7/", ""], []),
        (["tail", "--json", "/rooms/7/", "/n"], ["/news/"]),
        (["who", ""], ["/news/", "/rooms/7/"]),
        (["kick", ""], ["alice"]),
        (["erase", "a"], ["alice"]),
        (["explain", "a"], ["alice"]),
        (["explain", "alice", "/n"], ["/news/"]),
        (["publish", "--t"], []),
        (["prune", ""], []),
    ],
)
def test_completion(words: list[str], expected: list[str], make_policy: Any) -> None:
    make_policy("/news/")
    make_policy("/rooms/<int:room>/")
    assert candidates(words, NAMES) == expected
    assert run("complete", "--", *words).split() == expected


def test_completion_without_words_or_process(make_policy: Any) -> None:
    make_policy("/news/")
    assert candidates([], NAMES) == sorted(NAMES)
    with mock.patch("djhookbox.client.list_channels", side_effect=HookboxUnreachable("down")):
        assert candidates(["publish", "/"], NAMES) == ["/news/"]
    with mock.patch("djhookbox.client.list_connections", side_effect=HookboxUnreachable("down")):
        assert candidates(["kick", ""], NAMES) == []


@pytest.mark.parametrize("shell", sorted(completion.SCRIPTS))
def test_the_scripts_are_valid(shell: str) -> None:
    script = run("completion", shell)
    program = shutil.which(shell)
    if program is None:  # all shells check in the same way
        assert script.strip()
        return
    checked = subprocess.run([program, "-n"], input=script, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_script_completes_in_bash(tmp_path: Any) -> None:
    bash = shutil.which("bash")
    assert bash, "bash is part of every system that this package supports"
    fake = tmp_path / "manage.py"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    script = (
        run("completion", "bash")
        + f"""
COMP_WORDS=({fake} hookbox publish /ne) COMP_CWORD=3
_djhookbox
printf '%s|' "${{COMPREPLY[@]}}"
"""
    )
    ran = subprocess.run([bash, "-c", script], capture_output=True, text=True)
    assert ran.stdout == "hookbox|complete|--|publish|/ne|", ran.stderr


def test_a_site_without_the_admin() -> None:
    code = """
        import django
        from django.conf import settings
        settings.configure(
            SECRET_KEY="x" * 50,
            INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "djhookbox"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        )
        django.setup()
        from django.core.management import CommandError, call_command
        from djhookbox.models import ConnectionLog
        call_command("migrate", verbosity=0)
        ConnectionLog.objects.create(event="connect", user_name="alice")
        call_command("hookbox", "erase", "alice")
        try:
            call_command("hookbox", "erase", "alice", "--by", "eve")
        except CommandError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "Changed rows" in done.stdout
    assert "--by: the admin, which would record it, is not installed." in done.stdout
