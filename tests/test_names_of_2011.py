"""The public names and behaviours of django-hookbox 0.1 to 0.3, one by one.

The table in docs/reference/names-of-2011.rst must name them all.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.urls import resolve, reverse

import djhookbox
from djhookbox import views
from djhookbox.conf import settings as conf
from djhookbox.handlers import whcallback
from djhookbox.management.commands import runhookbox

from .conftest import Webhooks
from .stand_ins.process import FakeHookbox, fake_hookbox

TABLE = (Path(__file__).parent.parent / "docs/reference/names-of-2011.rst").read_text()

WEBHOOKS = (
    "connect", "disconnect", "create_channel", "destroy_channel", "subscribe", "unsubscribe",
)  # fmt: skip
SETTINGS = (
    "HOOKBOX_INTERFACE", "HOOKBOX_PORT", "HOOKBOX_CBHOST", "HOOKBOX_CBPORT", "HOOKBOX_CBPATH",
    "HOOKBOX_WEBHOOK_SECRET", "HOOKBOX_REST_SECRET", "HOOKBOX_API_SECURITY_TOKEN",
    "HOOKBOX_ADMIN_PASSWORD",
)  # fmt: skip
OPTIONS = (
    "-i", "--interface", "-p", "--port", "--cbhost", "--cbport", "--cbpath", "-s",
    "--webhook-secret", "-r", "--rest-secret", "--api-security-token", "-a", "--admin-password",
    "-e", "--executable",
)  # fmt: skip
FUNCTIONS = (
    "register_channel_handler", "unregister_channel_handler", "whcallback", "publish", "create",
    "HookboxError",
)  # fmt: skip


class Handler:
    """A handler of 2011: one method, two positional arguments."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.asked: list[tuple[str, str]] = []

    def create(self, user: Any, channel: str) -> Any:
        self.asked.append((user.get_username(), channel))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture(params=[True, False], ids=["our server", "genuine server"])
def embedded(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def of_alice(webhooks: type[Webhooks], alice: Any, embedded: bool) -> Webhooks:
    """Webhooks of alice's browser."""
    return webhooks(alice, embedded=embedded)


@pytest.fixture
def register() -> Callable[..., Handler]:
    def register(result: Any = None) -> Handler:
        handler = Handler(result)
        djhookbox.register_channel_handler(handler)
        return handler

    return register


@pytest.fixture
def hookbox(settings: Any, register: Callable[..., Handler]) -> Iterator[FakeHookbox]:
    """A process that code can call, and a handler that allows all channels."""
    register({})
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        yield fake


# ---- where it is found -------------------------------------------------------


@pytest.mark.parametrize("name", [*FUNCTIONS, *SETTINGS, *OPTIONS])
def test_the_readme_tells_what_became_of_it(name: str) -> None:
    literals = " ".join(re.findall(r"``(.+?)``", TABLE, re.DOTALL))
    assert name in re.findall(r"[\w-]+", literals)


@pytest.mark.parametrize("package", ["djhookbox", "django_hookbox"])
def test_functions_and_modules_are_where_they_were(package: str) -> None:
    for name in FUNCTIONS:
        module = importlib.import_module(package)
        assert getattr(module, name) is getattr(djhookbox, name)
    assert importlib.import_module(f"{package}.views").signals is djhookbox.signals.signals
    assert importlib.import_module(f"{package}.urls").urlpatterns


@pytest.mark.parametrize("name", [*WEBHOOKS, "publish"])
def test_urls_and_their_names(name: str) -> None:
    assert reverse(f"hookbox_{name}").rstrip("/") == f"/hookbox/{name}"
    for path in (f"/hookbox/{name}", f"/hookbox/{name}/"):
        assert resolve(path).func is getattr(views, name)


# ---- handlers ----------------------------------------------------------------


def test_the_first_handler_that_answers_decides(
    of_alice: Webhooks, register: Callable[..., Handler]
) -> None:
    first, second, third = register(), register({"history_size": 5}), register({})
    assert of_alice("create_channel", channel_name="/some-channel/") == (True, {"history_size": 5})
    assert first.asked == second.asked == [("alice", "/some-channel/")]
    assert third.asked == []


def test_an_unregistered_handler_is_not_asked(
    of_alice: Webhooks, register: Callable[..., Handler]
) -> None:
    handler = register({})
    djhookbox.unregister_channel_handler(handler)
    assert of_alice("create_channel", channel_name="/some-channel/")[0] is False
    assert handler.asked == []


def test_an_empty_dict_means_yes(of_alice: Webhooks, register: Callable[..., Handler]) -> None:
    register({})
    assert of_alice("create_channel", channel_name="/some-channel/") == (True, {})


def test_without_a_cookie_the_user_is_anonymous(
    webhooks: type[Webhooks], register: Callable[..., Handler]
) -> None:
    handler = register({})
    nobody = webhooks(embedded=False)
    nobody("create_channel", channel_name="/some-channel/")
    assert handler.asked == [("", "/some-channel/")]


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (None, "No policy or handler opens this channel."),
        (djhookbox.HookboxError("Full."), "Full."),
        ("Only members.", "Only members."),  # an empty text in 2011
        ([False, {"msg": "Only members."}], "Only members."),  # a slip's text in 2011
        (ValueError("boom"), "The site could not decide this because of an error; see its log."),
    ],
)
def test_who_gives_no_options_refuses(
    of_alice: Webhooks, register: Callable[..., Handler], result: Any, says: str
) -> None:
    register(result)
    allowed, answer = of_alice("create_channel", channel_name="/some-channel/")
    assert allowed is False
    # Hookbox reads one, the sites of 2011 wrote the other.
    assert answer["error"] == answer["msg"] == says


def test_with_debug_any_exception_is_told(
    of_alice: Webhooks, register: Callable[..., Handler], settings: Any
) -> None:
    settings.DEBUG = True
    register(ValueError("boom"))
    assert of_alice("create_channel", channel_name="/c/")[1]["msg"] == "ValueError: boom"


def test_who_may_create_may_subscribe_and_publish(
    of_alice: Webhooks, register: Callable[..., Handler]
) -> None:
    register({})
    assert of_alice("subscribe", channel_name="/c/") == (True, {})
    payload = "1" if of_alice.headers else "{u'a': 1}"
    allowed, _options = of_alice("publish", channel_name="/c/", payload=payload)
    assert allowed is True


def test_a_channel_may_always_go(of_alice: Webhooks) -> None:
    assert of_alice("destroy_channel", channel_name="/c/") == (True, {})


# ---- signals -----------------------------------------------------------------


@pytest.fixture
def listen() -> Iterator[Callable[..., list[Any]]]:
    connected = []

    def listen(name: str, error: Exception | None = None) -> list[Any]:
        heard: list[Any] = []

        def receiver(sender: Any, **kwargs: Any) -> str:
            del kwargs["signal"]
            heard.append((sender.get_username(), kwargs))
            if error is not None:
                raise error
            return "ignored"

        signal = views.signals[name]
        signal.connect(receiver)
        connected.append((signal, receiver))
        return heard

    yield listen
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.mark.parametrize("error", [None, djhookbox.HookboxError("Not you.")])
@pytest.mark.parametrize("name", ["connect", "disconnect", "subscribe", "unsubscribe"])
def test_signals_and_their_arguments(
    of_alice: Webhooks,
    listen: Callable[..., list[Any]],
    register: Callable[..., Handler],
    name: str,
    error: Exception | None,
) -> None:
    register({})
    heard = listen(name, error)
    about_channel = name.endswith("subscribe")
    fields = {"channel_name": "/c/"} if about_channel else {}
    if name == "disconnect":
        fields["name"] = "alice"
    allowed, answer = of_alice(name, **fields)
    assert heard == [("alice", {"channel": "/c/"} if about_channel else {})]
    if error is None or name in ("disconnect", "unsubscribe"):
        assert allowed is True  # leaving cannot be refused
    else:
        assert (allowed, answer["msg"]) == (False, "Not you.")


# ---- the webhook views -------------------------------------------------------


def test_connect_answers_with_the_username(of_alice: Webhooks) -> None:
    allowed, answer = of_alice("connect")
    assert (allowed, answer["name"]) == (True, "alice")


def test_anonymous_names_begin_with_space_and_underscore(
    webhooks: type[Webhooks], embedded: bool
) -> None:
    names = {webhooks(embedded=embedded)("connect")[1]["name"] for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith(" _") for name in names)


@pytest.mark.parametrize("name", WEBHOOKS)
def test_a_wrong_secret_is_forbidden(of_alice: Webhooks, name: str) -> None:
    response = of_alice.post(name, secret="wrong")
    assert response.status_code == 403  # 200 in 2011
    assert json.loads(response.content)[0] is False


def test_the_secret_takes_the_place_of_a_csrf_token(of_alice: Webhooks) -> None:
    of_alice.client.handler.enforce_csrf_checks = True
    response = of_alice.post("connect")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"


# ---- calls to Hookbox --------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("payload", [{"data": "some-data"}, [1, None], "text", 0, None])
def test_publish_takes_any_value(hookbox: FakeHookbox, payload: object) -> None:
    djhookbox.publish("/some-channel/", payload)
    (request,) = hookbox.requests
    assert request.path == "/rest/publish"
    assert request.form["channel_name"] == "/some-channel/"
    assert json.loads(request.form["payload"]) == payload
    assert request.form["secret"] == conf.rest_secrets[0]


@pytest.mark.django_db
def test_create_with_and_without_options(hookbox: FakeHookbox) -> None:
    djhookbox.create("/a/")
    djhookbox.create("/a/", {"history_size": 2})
    assert [request.call for request in hookbox.requests] == ["create_channel"] * 2
    assert [request.form.get("history_size") for request in hookbox.requests] == [None, "2"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "call", [lambda: djhookbox.publish("/a/", 1), lambda: djhookbox.create("/a/")]
)
def test_what_goes_wrong_is_a_hookbox_error(hookbox: FakeHookbox, call: Callable[[], Any]) -> None:
    hookbox.replies(False, {"msg": "No."}, status=500)
    with pytest.raises(djhookbox.HookboxError, match="No"):
        call()
    hookbox.stop()
    with pytest.raises(djhookbox.HookboxError, match="cannot be reached"):
        call()


# ---- runhookbox --------------------------------------------------------------


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Callable[..., Any]:
    """Run the command; return the options of our server and those of the genuine one."""
    settings.HOOKBOX_RUN_DIR = str(tmp_path / "run")
    seen: dict[str, Any] = {}

    def run(self: Any, config: Any, options: Any) -> None:
        seen["embedded"] = config

    def become(self: Any, executable: str, config: Any, arguments: list[str]) -> None:
        seen["genuine"] = (executable, arguments)

    monkeypatch.setattr(runhookbox.Command, "_run", run)
    monkeypatch.setattr(runhookbox.Command, "_become", become)

    def given(*arguments: str) -> dict[str, Any]:
        for more in ((), ("-e", "/usr/bin/hookbox")):
            call_command("runhookbox", *arguments, *more, stdout=StringIO(), stderr=StringIO())
        return seen

    return given


EXPECTED = [
    "-i", "0.0.0.0", "-p", "9001", "--cbhost", "localhost", "--cbport", "8080",
    "--cbpath", "/hookbox", "-s", "webhook secret", "-r", "rest secret", "-a", "password",
]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        EXPECTED,
        [
            "--interface", "0.0.0.0", "--port", "9001", "--cbhost", "localhost",
            "--cbport", "8080", "--cbpath", "/hookbox", "--webhook-secret", "webhook secret",
            "--rest-secret", "rest secret", "--admin-password", "password",
        ],
        [*EXPECTED[:-4], "--api-security-token", "rest secret", "-a", "password"],
        [],
    ],
    ids=["short", "long", "later", "settings"],
)  # fmt: skip
def test_options_and_settings_of_runhookbox(
    given: Callable[..., Any], settings: Any, arguments: list[str]
) -> None:
    if not arguments:
        settings.HOOKBOX_INTERFACE = "0.0.0.0"
        settings.HOOKBOX_PORT = 9001
        settings.HOOKBOX_CBHOST = "localhost"
        settings.HOOKBOX_CBPORT = 8080
        settings.HOOKBOX_CBPATH = "/hookbox"
        settings.HOOKBOX_WEBHOOK_SECRET = "webhook secret"
        settings.HOOKBOX_API_SECURITY_TOKEN = "rest secret"
        settings.HOOKBOX_ADMIN_PASSWORD = "password"
    seen = given(*arguments)
    config = seen["embedded"]
    assert (config.interface, config.port) == ("0.0.0.0", 9001)
    assert config.webhook_url == "http://localhost:8080/hookbox"
    assert (config.webhook_secret, config.rest_secrets) == ("webhook secret", ("rest secret",))
    assert seen["genuine"] == ("/usr/bin/hookbox", EXPECTED)


# ---- whcallback --------------------------------------------------------------


def test_functions_hear_of_all_operations_or_of_one(
    of_alice: Webhooks, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = []

    @whcallback
    def everything(op: str, user: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((op, user.get_username(), args, kwargs))
        return {} if op == "create" else None

    @whcallback("publish")
    def publishing(op: str, user: Any, channel: str, payload: Any) -> None:
        calls.append(("only " + op, user.get_username(), (channel, payload), {}))

    def called(action: str, **fields: str) -> list[Any]:
        calls.clear()
        assert of_alice(action, **fields)[0] is True
        return list(calls)

    channel = {"channel_name": "/c/"}
    assert called("connect") == [("connect", "alice", (), {})]
    assert called("create_channel", **channel) == [("create", "alice", ("/c/",), {})]
    assert called("subscribe", **channel)[0] == ("subscribe", "alice", (), {"channel": "/c/"})
    assert called("unsubscribe", **channel) == [
        ("unsubscribe", "alice", (), {"channel": "/c/"})
    ]  # fmt: skip
    assert called("destroy_channel", **channel) == [("destroy", "", (), {"channel": "/c/"})]
    assert called("disconnect", name="alice") == [("disconnect", "alice", (), {})]
    payload = '{"a": 1}' if of_alice.headers else "{u'a': 1}"
    assert called("publish", payload=payload, **channel)[:2] == [
        ("publish", "alice", ("/c/", {"a": 1}), {}),
        ("only publish", "alice", ("/c/", {"a": 1}), {}),
    ]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([None, None], (False, None)),
        ([{"history_size": 3}], (True, {"history_size": 3})),
        ([None, {"history_size": 3}], (True, {"history_size": 3})),
        (["Not now."], (False, "Not now.")),
        ([[True, {"reflective": False}]], (True, {"reflective": False})),
        ([[False, {"msg": "Not now."}]], (False, "Not now.")),
    ],
)
def test_what_functions_return(
    of_alice: Webhooks, results: list[Any], expected: tuple[bool, Any]
) -> None:
    for result in results:
        whcallback("create")(lambda op, user, channel, result=result: result)
    allowed, answer = of_alice("create_channel", channel_name="/c/")
    assert allowed is expected[0]
    if allowed:
        assert answer == expected[1]
    elif expected[1] is not None:
        assert answer["msg"] == expected[1]


def test_several_results_are_warned_of(
    of_alice: Webhooks, caplog: pytest.LogCaptureFixture
) -> None:
    whcallback("create")(lambda op, user, channel: {"history_size": 1})
    whcallback("create")(lambda op, user, channel: "no")
    with caplog.at_level(logging.WARNING, "djhookbox"):
        assert of_alice("create_channel", channel_name="/c/") == (True, {"history_size": 1})
    (warning,) = (record for record in caplog.records if record.name == "djhookbox")
    assert "has already answered" in warning.getMessage()


def test_only_an_exception_denies_a_connect(of_alice: Webhooks) -> None:
    error: list[Exception] = []

    @whcallback("connect")
    def connecting(op: str, user: Any) -> str:
        if error:
            raise error[0]
        return "a result is ignored"

    assert of_alice("connect")[0] is True
    error.append(djhookbox.HookboxError("Not you."))
    assert of_alice("connect")[1]["msg"] == "Not you."


def test_functions_may_keep_somebody_from_subscribing(of_alice: Webhooks) -> None:
    whcallback("create")(lambda op, user, channel: {})
    whcallback("subscribe")(lambda op, user, channel: "Full." if channel == "/full/" else None)
    assert of_alice("subscribe", channel_name="/c/") == (True, {})
    assert of_alice("subscribe", channel_name="/full/")[1]["error"] == "Full."


def test_anonymous_users_are_handed_over(webhooks: type[Webhooks]) -> None:
    users = []
    whcallback("connect")(lambda op, user: users.append(user))
    webhooks(embedded=False)("connect")
    assert isinstance(users[0], AnonymousUser)
