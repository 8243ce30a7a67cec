from __future__ import annotations

import json
import os
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from djhookbox import client
from djhookbox.client import http, places
from djhookbox.client.payloads import to_json
from djhookbox.exceptions import (
    HookboxError,
    HookboxMisconfigured,
    HookboxRefused,
    HookboxUnreachable,
    PayloadError,
)
from djhookbox.process import control
from djhookbox.wire.proof import SECRET_HEADER, from_header
from djhookbox.wire.rest import Origin

from .ports import free_port
from .stand_ins.process import Answer, FakeHookbox, fake_hookbox

SECRET = "the-rest-secret-of-tests"

pytestmark = pytest.mark.usefixtures("real_process")


@pytest.fixture
def hookbox(settings):
    http.forget_connections()
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        settings.HOOKBOX_REST_SECRET = SECRET
        yield fake
    http.forget_connections()


# ---- what is sent


@pytest.mark.parametrize(
    ("make", "call", "form"),
    [
        (
            lambda: client.publish("/a/", '{"x": 1}'),
            "publish",
            {"channel_name": "/a/", "payload": '{"x": 1}', "recorded": "1"},
        ),
        (
            lambda: client.publish(
                "/ä/",
                "1",
                options={"history_size": 2},
                originator="eve",
                origin=Origin("code", "mallory"),
            ),
            "publish",
            {
                "channel_name": "/ä/",
                "payload": "1",
                "options": '{"history_size":2}',
                "originator": "eve",
                "recorded": "1",
                "origin": '{"source":"code","user":"mallory","decided_by":"","reason":""}',
            },
        ),
        (
            lambda: client.create_channel("/a/", {"presenceful": True, "state": {"k": None}}),
            "create_channel",
            {"channel_name": "/a/", "presenceful": "true", "state": '{"k":null}'},
        ),
        (lambda: client.get_channel_info("/a/"), "get_channel_info", {"channel_name": "/a/"}),
        (
            lambda: client.set_channel_options("/a/", {"reflective": False}),
            "set_channel_options",
            {"channel_name": "/a/", "reflective": "false"},
        ),
        (
            lambda: client.state_set_key("/a/", "k", [1]),
            "state_set_key",
            {"channel_name": "/a/", "key": "k", "val": "[1]"},
        ),
        (
            lambda: client.state_delete_key("/a/", "k"),
            "state_delete_key",
            {"channel_name": "/a/", "key": "k"},
        ),
        (
            lambda: client.subscribe("/a/", "bob", options={}),
            "subscribe",
            {"channel_name": "/a/", "name": "bob", "options": "{}"},
        ),
        (
            lambda: client.unsubscribe("/a/", "bob"),
            "unsubscribe",
            {"channel_name": "/a/", "name": "bob"},
        ),
        (
            lambda: client.disconnect(user="bob", code=4000, reason="bye"),
            "disconnect",
            {"name": "bob", "code": "4000", "reason": "bye"},
        ),
        (
            lambda: client.disconnect(connection="c1"),
            "disconnect",
            {"conn_id": "c1", "code": "4500"},
        ),
        (
            lambda: client.disconnect(identity="session:ab"),
            "disconnect",
            {"identity": "session:ab", "code": "4500"},
        ),
        (
            lambda: client.list_channels("/a", 5),
            "list_channels",
            {"prefix": "/a", "limit": "5"},
        ),
        (
            lambda: client.list_connections("bob"),
            "list_connections",
            {"name": "bob", "limit": "100"},
        ),
        (
            lambda: client.unsubscribe("/a/", "bob", reason="bye"),
            "unsubscribe",
            {"channel_name": "/a/", "name": "bob", "reason": "bye"},
        ),
        (
            lambda: client.tail("/a/", payloads=True),
            "tail",
            {"channel_name": "/a/", "payloads": "1"},
        ),
        (lambda: client.get_server_info(), "get_server_info", {}),
        (
            lambda: client.get_server_report("/a", "bob"),
            "get_server_info",
            {"report": "1", "channel": "/a", "user": "bob"},
        ),
    ],
)
def test_each_call_sends_its_form(hookbox, make, call, form):
    make()
    (request,) = hookbox.requests
    assert request.path == f"/rest/{call}"
    assert request.form == {**form, "secret": SECRET}
    assert request.query == ""  # the secret is never in it


def test_answers_are_returned(hookbox):
    hookbox.replies(True, {"delivered": 3, "disconnected": 2, "name": "/a/"})
    assert client.publish("/a/", "1").delivered == 3
    assert client.disconnect(user="bob") == 2
    assert client.get_channel_info("/a/")["name"] == "/a/"


def test_a_server_that_does_not_count_is_believed(hookbox):
    hookbox.replies(True, {})
    assert client.publish("/a/", "1").delivered is None


def test_the_first_of_several_secrets_is_sent(hookbox, settings):
    settings.HOOKBOX_REST_SECRET = ["new-secret", "old-secret"]
    client.get_server_info()
    assert hookbox.requests[0].form["secret"] == "new-secret"


@pytest.mark.parametrize("secret", ["a plain one", "schlüssel & %41"])
def test_the_secret_is_in_a_header_and_first_in_the_form(hookbox, settings, secret):
    settings.HOOKBOX_REST_SECRET = secret
    client.publish("/a/", "1")
    request = hookbox.requests[0]
    assert from_header(request.headers[SECRET_HEADER.lower()]) == request.form["secret"] == secret
    assert next(iter(request.form)) == "secret"


@pytest.mark.parametrize("name", ["channel_name", "secret"])
def test_an_option_cannot_be_mistaken_for_an_argument(hookbox, name):
    with pytest.raises(PayloadError, match=name):
        client.set_channel_options("/a/", {name: "x"})
    assert hookbox.requests == []


def test_an_option_called_call_is_sent_like_any_other(hookbox):
    client.set_channel_options("/a/", {"call": 1})
    assert hookbox.requests[0].form["call"] == "1"


def test_proxies_and_netrc_of_the_environment_are_not_used(hookbox, monkeypatch, tmp_path):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client.get_server_info()
    assert "authorization" not in hookbox.requests[0].headers


def test_cookies_are_not_kept(hookbox):
    hookbox.answer = lambda request: Answer(headers={"Set-Cookie": "a=b; Path=/"})
    client.get_server_info()
    client.get_server_info()
    assert "cookie" not in hookbox.requests[1].headers


# ---- what can come back


def test_refusals_carry_status_and_code(hookbox):
    hookbox.replies(False, {"msg": "Channel /a/ doesn't exist", "code": "gone"}, status=409)
    with pytest.raises(HookboxRefused, match=r"Channel /a/ doesn't exist") as caught:
        client.get_channel_info("/a/")
    assert (caught.value.status, caught.value.code) == (409, "gone")


@pytest.mark.parametrize(
    "answer", [Answer(500, '[false, {"msg": "Not Implemented"}]'), Answer(404, "Not Found")]
)
def test_what_the_genuine_server_cannot_do(hookbox, answer):
    hookbox.answer = lambda request: answer
    with pytest.raises(HookboxRefused, match=r"does not support “disconnect”.*0\.3\.3") as caught:
        client.disconnect(user="bob")
    assert (caught.value.status, caught.value.code) == (answer.status, "unsupported")
    with pytest.raises(HookboxError) as caught:
        client.get_channel_info("/a/")  # supported, so the refusal has another cause
    assert caught.value.code == ""


def test_names_that_the_genuine_server_would_mistake(hookbox, settings):
    client.publish("/grün/", "1")
    settings.HOOKBOX_EXECUTABLE = "hookbox"
    client.publish("/green/", '"grün"', originator="jörg")
    for call in (
        lambda: client.publish("/grün/", "1"),
        lambda: client.subscribe("/green/", "jörg"),
    ):
        with pytest.raises(HookboxRefused, match="ASCII") as caught:
            call()
        assert caught.value.code == "unsupported"
    assert [request.form["channel_name"] for request in hookbox.requests] == ["/grün/", "/green/"]


def test_success_with_an_error_status_is_no_success(hookbox):
    hookbox.replies(True, {}, status=500)
    with pytest.raises(HookboxRefused):
        client.get_server_info()


def test_a_refusal_without_a_reason_still_says_something(hookbox):
    hookbox.replies(False, {})
    with pytest.raises(HookboxRefused, match="without giving a reason"):
        client.get_server_info()


@pytest.mark.parametrize("status", [200, 403])
def test_a_wrong_secret_names_the_setting(hookbox, status):
    hookbox.replies(False, {"msg": "Invalid secret"}, status=status)
    with pytest.raises(HookboxMisconfigured, match="HOOKBOX_REST_SECRET") as caught:
        client.get_server_info()
    assert SECRET not in str(caught.value)
    assert caught.value.code == "secret"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>It works</html>"),
        Answer(404, "Not Found", {"Content-Type": "text/plain"}),
        Answer(302, "", {"Location": "/elsewhere"}),
        Answer(200, '{"a": 1, "b": 2}'),
        Answer(200, "[true]"),
        Answer(200, "[true, []]"),
        Answer(200, "null"),
        Answer(200, ""),
    ],
    ids=["html", "404", "redirect", "object", "short", "list", "null", "empty"],
)
def test_what_is_no_hookbox_is_named_so(hookbox, answer):
    hookbox.answer = lambda request: answer
    with pytest.raises(HookboxMisconfigured, match="HOOKBOX_REST_URL") as caught:
        client.get_server_info()
    assert caught.value.status == answer.status
    assert len(hookbox.requests) == 1


def test_credentials_of_the_url_are_sent_but_never_shown(hookbox, settings):
    plain = settings.HOOKBOX_REST_URL
    settings.HOOKBOX_REST_URL = plain.replace("//", "//proxy:p%40ss@")
    client.get_channel_info("/a/")
    sent = hookbox.requests[-1].headers["authorization"]
    assert sent == "Basic " + b64encode(b"proxy:p@ss").decode()

    hookbox.answer = lambda request: Answer(200, "<html>")
    with pytest.raises(HookboxMisconfigured, match=plain) as other:
        client.get_channel_info("/a/")
    settings.HOOKBOX_REST_URL = f"http://proxy:p%40ss@127.0.0.1:{free_port()}"
    with pytest.raises(HookboxUnreachable, match="cannot be reached") as unreachable:
        client.get_channel_info("/a/")
    for error in (other, unreachable):
        assert "p%40ss" not in str(error.value)
    assert "p%40ss" not in str(control.status())


def test_nothing_listens(settings):
    settings.HOOKBOX_REST_URL = url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(HookboxUnreachable, match="runhookbox") as caught:
        client.get_server_info()
    assert url in str(caught.value)
    assert isinstance(caught.value, ConnectionError)


def test_a_silent_server_is_left_after_the_timeout(hookbox, settings):
    settings.HOOKBOX_TIMEOUT = 0.2
    release = threading.Event()

    def answer(request):
        release.wait(10)
        return Answer()

    hookbox.answer = answer
    started = time.monotonic()
    try:
        with pytest.raises(HookboxUnreachable, match=r"0\.2 seconds"):
            client.get_server_info()
        assert time.monotonic() - started < 2
        settings.HOOKBOX_EXECUTABLE = "hookbox"  # which may be waiting for this very site
        with pytest.raises(HookboxUnreachable, match="second worker"):
            client.get_server_info()
    finally:
        release.set()


def test_a_server_that_hangs_up_is_unreachable_and_not_asked_twice(hookbox):
    hookbox.answer = lambda request: Answer(hang_up=True)
    with pytest.raises(HookboxUnreachable):
        client.publish("/a/", "1")
    assert len(hookbox.requests) == 1


def test_a_name_that_does_not_resolve_is_unreachable(settings):
    settings.HOOKBOX_REST_URL = "http://hookbox.invalid:8001"
    with pytest.raises(HookboxUnreachable, match=r"hookbox\.invalid"):
        client.get_server_info()


# ---- connections


def test_connections_are_kept(hookbox):
    for _ in range(3):
        client.get_server_info()
    assert len({request.peer for request in hookbox.requests}) == 1


def test_a_restarted_process_is_reached_at_once(hookbox):
    client.publish("/a/", "1")
    port = hookbox.port
    hookbox.stop()
    with fake_hookbox(port) as restarted:
        client.publish("/a/", "2")
        assert [request.form["payload"] for request in restarted.requests] == ["2"]


def test_connections_that_idled_are_not_used(hookbox, monkeypatch):
    client.get_server_info()
    now = time.monotonic()
    monkeypatch.setattr(http.time, "monotonic", lambda: now + http.IDLE_SECONDS + 1)
    client.get_server_info()
    assert len({request.peer for request in hookbox.requests}) == 2


def test_a_connection_with_an_unread_answer_is_not_used_again(hookbox, settings):
    settings.HOOKBOX_TIMEOUT = 0.2
    release = threading.Event()

    def slow(request):
        release.wait(10)
        return Answer(body='[true, {"delivered": 99}]')

    hookbox.answer = slow
    with pytest.raises(HookboxUnreachable):
        client.publish("/a/", "1")
    release.set()
    settings.HOOKBOX_TIMEOUT = 5.0
    hookbox.replies(True, {"delivered": 1})
    assert client.publish("/a/", "2").delivered == 1


def test_threads_do_not_get_each_others_answers(hookbox):
    hookbox.answer = lambda request: Answer(
        body=json.dumps([True, {"delivered": int(request.form["payload"])}])
    )
    with ThreadPoolExecutor(8) as pool:
        numbers = list(range(200))
        answers = pool.map(lambda n: client.publish("/a/", str(n)), numbers)
        assert [answer.delivered for answer in answers] == numbers
    assert len(http._idle) <= http.MAX_IDLE_CONNECTIONS


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(hookbox: FakeHookbox):
    client.get_server_info()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # no pytest in here: only report, and go
        try:
            client.get_server_info()
            os.write(write, b"ok")
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b"ok"
    client.get_server_info()
    peers = [request.peer for request in hookbox.requests]
    assert peers[0] == peers[2] != peers[1]


# ---- JSON


def test_json_is_written_as_django_does():
    import datetime
    import decimal
    import uuid

    from django.utils.translation import gettext_lazy

    value = {
        "at": datetime.datetime(2011, 5, 29, 12, 0, tzinfo=datetime.timezone.utc),
        "day": datetime.date(2011, 5, 29),
        "price": decimal.Decimal("1.10"),
        "id": uuid.UUID(int=1),
        "label": gettext_lazy("Yes"),
    }
    assert json.loads(to_json(value)) == {
        "at": "2011-05-29T12:00:00Z",
        "day": "2011-05-29",
        "price": "1.10",
        "id": "00000000-0000-0000-0000-000000000001",
        "label": "Yes",
    }


def circular() -> list:
    value: list = []
    value.append(value)
    return value


def deep() -> list:
    value: list = []
    for _ in range(200_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "object"),
        ({"a": {1, 2}}, "set"),
        (b"bytes", "bytes"),
        ({(1, 2): 3}, "tuple"),
        (float("nan"), "float"),
        ([float("inf")], "float"),
        (circular(), "[Cc]ircular"),
    ],
)
def test_what_is_not_json_is_refused_by_name(value, words):
    with pytest.raises(PayloadError, match=words):
        to_json(value)


def test_nesting_without_end_is_refused():
    value = deep()
    try:
        with pytest.raises(PayloadError):
            to_json(value)
    finally:
        while value:  # freeing it in one go recurses as deep in C
            value = value[0]


# ---- several URLs


@pytest.fixture
def two(settings, monkeypatch):
    """Return a process that stands first in HOOKBOX_REST_URL, and one that stands second."""
    monkeypatch.setattr(places, "_again", {})
    http.forget_connections()
    with fake_hookbox() as first, fake_hookbox() as second:
        settings.HOOKBOX_REST_URL = [first.url, second.url]
        settings.HOOKBOX_REST_SECRET = SECRET
        yield first, second
    http.forget_connections()


def test_the_first_url_is_called_while_it_answers(two):
    first, second = two
    for _number in range(3):
        client.publish("/a/", "1")
    assert (len(first.requests), len(second.requests)) == (3, 0)


def test_the_next_url_is_called_if_nothing_listens_at_the_first(two, settings, monkeypatch):
    _first, second = two
    dead = f"http://127.0.0.1:{free_port()}"
    settings.HOOKBOX_REST_URL = [dead, second.url]
    tried = []
    original = http._call
    monkeypatch.setattr(
        client.http, "_call", lambda base, *rest: (tried.append(base), original(base, *rest))[1]
    )
    client.publish("/a/", "1")  # without a key: nobody can have carried it out
    client.publish("/a/", "2")
    assert tried == [dead, second.url, second.url]  # not tried again for a moment
    monkeypatch.setattr(places, "_again", {dead: time.monotonic() - 1})
    client.publish("/a/", "3")
    assert tried[3:] == [dead, second.url]
    assert len(second.requests) == 3


def test_a_url_that_failed_is_called_if_the_others_fail_too(two, settings):
    """Two processes are killed in sequence; the first is back before the second dies."""
    first, second = two
    first.answer = lambda request: Answer(hang_up=True)
    client.publish("/a/", "1", key="1")
    first.answer = lambda request: Answer()
    settings.HOOKBOX_REST_URL = [first.url, f"http://127.0.0.1:{free_port()}"]
    client.publish("/a/", "2")
    second.answer = lambda request: Answer(hang_up=True)
    settings.HOOKBOX_REST_URL = [first.url, second.url]
    client.publish("/a/", "3", key="3")
    assert [request.form["payload"] for request in first.requests] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("call", "repeated"),
    [
        (lambda: client.publish("/a/", "1"), False),
        (lambda: client.publish("/a/", "1", key="order-7"), True),
        (lambda: client.create_channel("/a/", {}), False),
        (lambda: client.get_server_info(), True),
        (lambda: client.unsubscribe("/a/", "eve"), True),
        (lambda: client.revoke([]), True),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        Answer(hang_up=True),
        Answer(status=502, body="Bad gateway"),
        Answer(body='[false, {"msg": "the channel could not be changed", "code": "unavailable"}]'),
    ],
    ids=["hangs up", "502", "unavailable"],
)
def test_a_call_that_may_have_been_carried_out_is_repeated_only_if_that_is_harmless(
    two, call, repeated, answer
):
    first, second = two
    first.answer = lambda request: answer
    if repeated:
        call()
    else:
        with pytest.raises(HookboxError):
            call()
    assert len(second.requests) == repeated


def test_a_refusal_is_final(two):
    first, second = two
    first.answer = lambda request: Answer(body='[false, {"msg": "no", "code": "refused"}]')
    with pytest.raises(HookboxRefused, match="no"):
        client.get_server_info()
    assert second.requests == []
    first.answer = lambda request: Answer()
    client.get_server_info()
    assert len(first.requests) == 2, "it is not skipped either"


def test_if_every_node_is_without_its_engine_the_refusal_is_raised(two):
    for each in two:
        each.answer = lambda request: Answer(body='[false, {"msg": "no", "code": "unavailable"}]')
    with pytest.raises(HookboxRefused) as refused:
        client.publish("/a/", "1", key="order-7")
    assert refused.value.code == "unavailable"
    assert [len(each.requests) for each in two] == [1, 1]


def test_if_nobody_answers_the_last_url_is_named(two, settings):
    dead = [f"http://127.0.0.1:{free_port()}" for _number in range(2)]
    settings.HOOKBOX_REST_URL = dead
    for _number in range(2):
        with pytest.raises(HookboxUnreachable, match=dead[1]):
            client.publish("/a/", "1")
