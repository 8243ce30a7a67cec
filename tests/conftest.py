"""Fixtures for many tests: users, policies, and webhooks as a server sends them."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from djhookbox import handlers, testing
from djhookbox.conf import settings as hookbox_settings
from djhookbox.decisions.store import cache
from djhookbox.models import ChannelPolicy
from djhookbox.notices import silence
from djhookbox.users import identity
from djhookbox.wire.answers import Revoked
from djhookbox.wire.revocations import Revocation
from djhookbox.wire.webhooks import BATCHABLE

from . import databases
from .needs import CI
from .projects import ROOT

#: How a module declares that all its tests depend on neither Python, Django nor the database.
ONCE = re.compile(r"^pytestmark = .*\bonce\b", re.MULTILINE)

pytest_plugins = ["tests.economy", "tests.reruns"]

#: By these a test or one of its fixtures asks pytest-django for the database.
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "live_server"}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run two tests for each processor: most of the slow ones wait for processes and browsers.

    The fast tests hardly wait, and each worker takes its time to collect all of them.
    """
    processors = len(os.sched_getaffinity(0))
    return min(8, processors if "not slow" in config.getoption("markexpr") else 2 * processors)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import a module of tests that `-m "… not once …"` would all omit."""
    omitted = (
        "not once" in config.getoption("markexpr")
        and collection_path.suffix == ".py"
        and ONCE.search(collection_path.read_text())
    )
    return True if omitted else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Let workers import the modules in different orders, so that each is compiled by one of them.

    Every worker imports all modules, and compiling their assertions takes longer than anything else
    in that. In the same order, all would compile the same module at the same time.
    """
    config = session.config
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    ignored = [Path(path).absolute() for path in config.getoption("ignore") or ()]
    modules = [
        path
        for argument in config.args
        for path in sorted(Path(argument.partition("::")[0]).absolute().rglob("test_*.py"))
        if not any(path.is_relative_to(folder) for folder in ignored)
        and not pytest_ignore_collect(path, config)
    ]
    own = len(modules) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for path in modules[own:] + modules[:own]:
        # What is wrong with a module is reported when pytest imports it.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


#: The modules that take longest, longest first, as the end of `make test` lists them. They begin
#: first, so that at the end no worker waits for another.
LONGEST = (
    "browser/test_admin_axe.py",
    "browser/test_demo.py",
    "admin/test_other_sites.py",
    "admin/test_bad_days.py",
    "browser/test_server_page.py",
    "integration/test_revocations.py",
    "browser/test_frameworks.py",
    "server/test_fuzz.py",
    "browser/test_admin_keyboard.py",
    "server/test_nodes_failing.py",
    "browser/test_firefox.py",
    "interop/test_original_client.py",
    "browser/test_client.py",
    "server/test_replay.py",
    "test_package.py",
    "server/test_replay_nodes.py",
    "test_npm_package.py",
    "test_documentation.py",
    "admin/test_rights.py",
    "test_doctor.py",
)

#: Tests with these markers wait for other programs.
WAITING = ("browser", "process", "slow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use the database, and run slow modules first, the slowest before all others.

    In CI, a test that fails is tried again, once, or twice if it waits for browsers and processes:
    on two busy cores a deadline can pass by accident. The summary names such tests.
    """
    for item in items:
        if CI:
            waits = any(item.get_closest_marker(name) for name in WAITING)
            item.add_marker(pytest.mark.flaky(reruns=2 if waits else 1, reruns_delay=2))
        if DATABASE_FIXTURES & set(getattr(item, "fixturenames", ())) or item.get_closest_marker(
            "django_db"
        ):
            item.add_marker(pytest.mark.database)
    slow = {
        item.path
        for item in items
        if item.get_closest_marker("slow") or item.get_closest_marker("browser")
    }
    longest = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    # Modules stay together: with `--dist loadfile` each is one worker's.
    items.sort(key=lambda item: (longest.get(item.path, len(LONGEST)), item.path not in slow))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that passed only on rerun, and print how long each module took."""
    stats = terminalreporter.stats
    passed = {report.nodeid for report in stats.get("passed", ())}
    lucky = sorted({report.nodeid for report in stats.get("rerun", ())} & passed)
    if lucky:
        terminalreporter.section("warning", yellow=True)
        tests = "1 test" if len(lucky) == 1 else f"{len(lucky)} tests"
        terminalreporter.write_line(f"{tests} passed only on rerun:", yellow=True)
        for name in lucky:
            terminalreporter.write_line(f"    {name}")
    seconds: Counter[str] = Counter()
    for reports in stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.location[0]] += report.duration  # type: ignore[assignment]
    if len(seconds) < 25:
        return
    terminalreporter.section("slowest modules, in seconds")
    for module, duration in seconds.most_common(25):
        terminalreporter.write_line(f"{duration:7.1f}  {module}")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Give each run, and each of its workers, its own database."""
    name = databases.asked_for()
    if not name:
        file = tmp_path_factory.getbasetemp() / "test.sqlite3"
        connection.settings_dict["TEST"]["NAME"] = str(file)
        yield
        return
    with databases.server(name) as where:
        connection.settings_dict.update(where)
        yield


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Let the database disappear with its server: threads may still be connected to it."""
    return django_db_keepdb or bool(databases.asked_for())


@pytest.fixture(autouse=True)
def _no_leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Isolate tests from the handlers and cached policies of earlier tests."""
    monkeypatch.setattr(handlers, "_handlers", ())
    monkeypatch.setattr(handlers, "_callbacks", ())
    silence.end()
    cache.drop()
    yield
    cache.drop()


@pytest.fixture
def make_user(db: None) -> Callable[..., Any]:
    """Return a factory of accounts."""

    def make(name: str, **fields: Any) -> Any:
        return get_user_model().objects.create_user(name, password="secret", **fields)

    return make


@pytest.fixture
def alice(make_user: Callable[..., Any]) -> Any:
    return make_user("alice")


@pytest.fixture
def staff(make_user: Callable[..., Any]) -> Any:
    return make_user("editor", is_staff=True)


@pytest.fixture
def make_policy(db: None) -> Callable[..., ChannelPolicy]:
    """Return a factory of policies, which allow everything to everyone by default."""

    def make(pattern: str, name: str = "", **fields: Any) -> ChannelPolicy:
        for operation in ("create", "subscribe", "publish"):
            fields.setdefault(f"{operation}_audience", "everyone")
        return ChannelPolicy.objects.create(name=name or pattern, pattern=pattern, **fields)

    return make


class Webhooks:
    """Sends webhooks as a Hookbox server does for the connection of one browser."""

    def __init__(self, user: Any = None, *, embedded: bool = True) -> None:
        self.client = Client()
        self.headers = {"X-Hookbox-Version": "djhookbox/1.0.0"} if embedded else {}
        self.fields: dict[str, str] = {"conn_id": "c1"}
        if user is not None:
            self.client.force_login(user)
            self.fields["user"] = user.get_username()
            if embedded:
                key = self.client.session.session_key
                assert key
                self.fields["identity"] = identity.session_identity(key)
        elif embedded:
            self.fields |= {"user": " _visitor", "identity": identity.ANONYMOUS}

    def post(self, action: str, /, **fields: str | None) -> HttpResponse:
        """Send a webhook; None omits a field."""
        form: dict[str, str | None] = {
            "action": action,
            "secret": hookbox_settings.webhook_secrets[0],
            **(self.fields if action != "connect" else {"conn_id": "c1"}),
            **fields,
        }
        sent = {name: value for name, value in form.items() if value is not None}
        return self.client.post(f"/hookbox/{action}", sent, headers=self.headers)  # type: ignore[return-value]

    def __call__(self, action: str, /, **fields: str | None) -> tuple[bool, dict[str, Any]]:
        """Send a webhook and return the reply, which must be valid."""
        response = self.post(action, **fields)
        assert response.status_code == 200, response.content
        success, options = json.loads(response.content)
        return success, options


class BatchedWebhooks(Webhooks):
    """Sends each decision in a batch with others, which fail or are not for this connection."""

    #: What else is in the batch. None of it leaves a trace in the database.
    OTHERS: tuple[tuple[dict[str, str], str], ...] = (
        ({"action": "subscribe", "channel_name": "/other/\n", "user": "alice"}, ""),
        ({"action": "vanish"}, "sessionid=nonsense"),
        (
            {
                "action": "message", "sender": "alice", "recipient": "bob", "payload": "1",
                "user": "alice", "identity": "session:ended", "conn_id": "c2",
            },
            "sessionid=0123456789abcdef0123456789abcdef; csrftoken=x",
        ),
    )  # fmt: skip

    def post(self, action: str, /, **fields: str | None) -> HttpResponse:
        """Send a webhook in a batch, and alone if the site asks for that, as the server does."""
        decides = action in {kind.name for kind in BATCHABLE}
        if not decides or not self.headers or "secret" in fields:
            return super().post(action, **fields)
        form: dict[str, str | None] = {
            "action": action,
            **(self.fields if action != "connect" else {"conn_id": "c1"}),
            **fields,
        }
        sent = {name: value for name, value in form.items() if value is not None}
        cookie = "; ".join(f"{name}={each.value}" for name, each in self.client.cookies.items())
        calls = [*self.OTHERS[:2], (sent, cookie), *self.OTHERS[2:]]
        response = self.post_batch(calls)
        answers = json.loads(response.content)[1]["answers"]
        if "batch" in response.headers["X-Hookbox-Accepts"]:
            assert [each[0] for each in answers[:2]] == [400, 400]
        else:
            assert answers == [None] * 4
        if answers[3] is not None:
            assert answers[3][1][0] is False
        if answers[2] is None:
            return super().post(action, **fields)
        status, body = answers[2]
        return HttpResponse(json.dumps(body), status=status, headers=dict(response.headers))

    def post_batch(self, calls: Sequence[tuple[Mapping[str, str], str]]) -> HttpResponse:
        """Send a batch of fields with Cookie headers; its own request has no cookies."""
        form = {
            "action": "batch",
            "secret": hookbox_settings.webhook_secrets[0],
            "calls": json.dumps([{"fields": fields, "cookie": cookie} for fields, cookie in calls]),
        }
        response = Client().post(
            "/hookbox/batch", form, content_type="application/json", headers=self.headers
        )
        assert response.status_code == 200, response.content
        return response  # type: ignore[return-value]


@pytest.fixture(params=[Webhooks, BatchedWebhooks], ids=["single", "batched"])
def webhooks(db: None, request: pytest.FixtureRequest) -> type[Webhooks]:
    """Play each test of a webhook both ways."""
    kind: type[Webhooks] = request.param
    return kind


class Told:
    """What a process is asked to revoke, in place of the process."""

    def __init__(self) -> None:
        self.calls: list[list[Revocation]] = []
        #: Raised by each call, if it is not None.
        self.error: Exception | None = None

    def __call__(self, revocations: Sequence[Revocation], seconds: float | None) -> Revoked:
        self.calls.append(list(revocations))
        if self.error is not None:
            raise self.error
        return Revoked(0, 0, 0)

    def forget(self) -> None:
        self.calls.clear()

    def revoked(self) -> list[Revocation]:
        """Return what was revoked, and forget it."""
        found = [each for call in self.calls for each in call]
        self.forget()
        return found

    def rechecked(self) -> tuple[list[str], list[str]]:
        """Return the patterns and the users to recheck, and forget them."""
        found = self.revoked()
        assert not [each for each in found if each.code]
        patterns = {pattern for each in found for pattern in each.patterns}
        return sorted(patterns), sorted({name for each in found for name in each.users})

    def closed(self) -> list[tuple[str, int]]:
        """Return whose connections are closed, with the codes, and forget them."""
        found = self.revoked()
        assert all(each.reason for each in found if each.code)
        return [
            (name, each.code)
            for each in found
            if each.code
            for name in (*each.users, *each.identities)
        ]


@pytest.fixture
def told() -> Iterator[Told]:
    """Replace the process by a list of what it is asked to revoke."""
    told = Told()
    with mock.patch("djhookbox.client.revoke", told):
        yield told


@pytest.fixture
def real_process() -> Iterator[None]:
    """Allow a test to call a process: its own, or one that does not exist."""
    with testing.real_process():
        yield


class Who:
    """Facts about a user who is not in the database."""

    def __init__(self, name: str = "", **facts: Any) -> None:
        self.username = name
        self.is_anonymous = not name
        self.is_active = facts.get("is_active", bool(name))
        self.is_staff = facts.get("is_staff", False)
        self.is_superuser = facts.get("is_superuser", False)
        self._groups = frozenset(facts.get("groups", ()))
        self._permissions = frozenset(facts.get("permissions", ()))

    def group_ids(self) -> frozenset[int]:
        return self._groups

    def has_permission(self, permission: str) -> bool:
        return permission in self._permissions
