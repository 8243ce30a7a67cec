"""The REST API: the secret, statuses, and what each call does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from djhookbox.server.refusals import Refusal
from djhookbox.server.rest import bodies, handler
from djhookbox.server.rest.forms import BadCall
from djhookbox.server.site.webhooks import WebhookFailed
from djhookbox.wire.proof import SECRET_HEADER, to_header

from ..stand_ins.waiting import until
from .engines import FarEngine
from .rig import Rig, turns

Http = TestClient[web.Request, web.Application]


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """Return a server that takes what programs of 2011 may do."""
    return make_rig(rest_get=True, allow_set_config=True)


@pytest.fixture
async def http(rig: Rig) -> AsyncIterator[Http]:
    """Return a client of the REST API of a server that has no other network."""
    async with serving(rig) as client:
        yield client


@asynccontextmanager
async def serving(rig: Rig) -> AsyncIterator[Http]:
    app = web.Application()
    for prefix in ("rest", "web"):
        app.router.add_route("*", f"/{prefix}/{{call:.*}}", rig.server.service.rest.handle)
    async with TestClient(TestServer(app)) as client:
        yield client


async def post(http: Http, call: str, /, **form: str) -> tuple[int, bool, dict[str, Any]]:
    response = await http.post(f"/rest/{call}", data=urlencode({"secret": "s", **form}))
    success, value = json.loads(await response.text())
    return response.status, success, value


# ---- over HTTP --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [{}, {"secret": ""}, {"secret": "x"}, {"secret": "sécret"},
                                  {"security_token": "ss"}])  # fmt: skip
async def test_without_the_secret_nothing_happens(http: Http, form: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        sent = {"params": form} if method == "GET" else {"data": form}
        response = await http.request(method, "/rest/get_channel_info", **sent)
        assert response.status == 200
        success, value = json.loads(await response.text())
        assert (success, value["msg"]) == (False, "Invalid secret")


async def test_bytes_that_are_no_text(http: Http) -> None:
    reader, writer = await open_raw(http)
    writer.write(b"GET /rest/publish?secret=\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).split()[1] in (b"200", b"400")
    writer.close()
    response = await http.post("/rest/publish", data=b"secret=s&channel_name=%ff")
    assert response.status == 400
    assert json.loads(await response.text())[0] is False


async def test_a_form_of_too_many_fields(http: Http) -> None:
    response = await http.post("/rest/publish", data="secret=s" + "&a=1" * bodies.MAX_FIELDS)
    assert response.status == 400
    assert "more than 1000 fields" in json.loads(await response.text())[1]["msg"]


async def open_raw(http: Http) -> Any:
    return await asyncio.open_connection(http.host, http.port)


async def test_secrets_outside_ascii_and_several_of_them(rig: Rig, http: Http) -> None:
    rig.calls.secrets = ("schlüssel", "s")
    for secret in ("schlüssel", "s"):
        response = await http.post("/web/get_server_info", data={"security_token": secret})
        assert json.loads(await response.text())[0] is True


async def test_no_configured_secret_closes_the_api(rig: Rig, http: Http) -> None:
    rig.calls.secrets = ()
    for secret in ("", "s"):
        assert (await post(http, "get_server_info", secret=secret))[1] is False


async def test_unknown_calls(http: Http) -> None:
    for path in ("/rest/fly", "/rest/", "/rest/_publish", "/rest/publish/x", "/rest/__init__"):
        response = await http.post(path, data={"secret": "s"})
        assert (response.status, await response.text()) == (404, "Not Found")


async def test_a_query_will_do_and_the_first_value_counts(rig: Rig, http: Http) -> None:
    await rig.lifecycle.create("room", {})
    query = "secret=s&channel_name=&channel_name=room&channel_name=other"
    response = await http.get(f"/rest/get_channel_info?{query}")
    assert json.loads(await response.text())[1]["name"] == "room"


@pytest.mark.parametrize(
    "call", ["set_config", "disconnect", "get_server_info", "recheck", "create_channel", "message"]
)
async def test_what_0_3_3_did_not_know_is_never_called_by_get(http: Http, call: str) -> None:
    response = await http.get(f"/rest/{call}?secret=s&cbhost=%22evil.example%22&name=alice")
    assert response.status == 405
    assert response.headers["Allow"] == "POST"
    assert json.loads(await response.text())[0] is False


async def test_a_secret_in_a_query_is_not_taken(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    async with serving(rig) as http:
        for call in handler.GET_CALLS:
            response = await http.get(f"/rest/{call}?secret=s&channel_name=room&payload=1")
            assert response.status == 405
        response = await http.post("/rest/publish?secret=s", data={"channel_name": "room"})
        assert json.loads(await response.text())[1]["code"] == "secret"
    assert rig.site.calls == []


async def test_set_config_is_off(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    before = rig.server.runtime.webhooks.config
    async with serving(rig) as http:
        status, success, value = await post(http, "set_config", cbhost='"evil.example"')
        assert (status, success, value["code"]) == (403, False, "forbidden")
        assert "HOOKBOX_ALLOW_SET_CONFIG" in value["msg"]
    assert rig.server.runtime.webhooks.config is before


# ---- before it has proved itself ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "field", "genuine"),
    [("s", "", True), ("s", "wrong", True), ("x", "s", False), ("", "s", False), (None, "s", True),
     ("%73", "", True), ("%FF", "", False)],
)  # fmt: skip
async def test_the_secret_in_a_header(
    http: Http, header: str | None, field: str, genuine: bool
) -> None:
    headers = {} if header is None else {SECRET_HEADER: header}
    response = await http.post("/rest/get_server_info", data={"secret": field}, headers=headers)
    assert json.loads(await response.text())[0] is genuine


async def test_a_secret_outside_ascii_in_a_header(rig: Rig, http: Http) -> None:
    rig.calls.secrets = ("schlüssel & more",)
    headers = {SECRET_HEADER: to_header("schlüssel & more")}
    response = await http.post("/rest/get_server_info", headers=headers)
    assert json.loads(await response.text())[0] is True


async def sent_in_part(http: Http, head: str, data: bytes) -> bytes:
    """Send a part of a form that says it is long; return the answer, or what there is of it."""
    reader, writer = await open_raw(http)
    start = f"POST /rest/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n{head}\r\n"
    writer.write(start.encode() + data)
    try:
        answer = await asyncio.wait_for(reader.readuntil(b"}]"), 20)
        return bytes(answer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_a_wrong_secret_is_answered_before_the_form_is_read(http: Http) -> None:
    header = f"{SECRET_HEADER}: wrong\r\n"
    for head, data in ((header, b""), ("", b"secret=wrong&"), ("", b"payload=1&secret=%77&x=")):
        assert b"Invalid secret" in await sent_in_part(http, head, data)


async def test_who_does_not_prove_himself_is_not_listened_to_for_long(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "UNPROVED_BYTES", 1000)
    for start in (b"", b"&", b"secret=", b"security_token=wrong&x="):
        answer = await sent_in_part(http, "", start + b"x" * 2000)
        assert answer.startswith(b"HTTP/1.1 413 ")
    monkeypatch.setattr(bodies, "UNPROVED_SECONDS", 0.1)
    assert (await sent_in_part(http, "", b"payload=")).startswith(b"HTTP/1.1 408 ")
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)
    assert (await sent_in_part(http, "", b"secret=s&x=")).startswith(b"HTTP/1.1 408 ")


async def test_a_form_that_has_proved_itself_may_be_long(
    http: Http, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "UNPROVED_BYTES", 1000)
    payload = json.dumps("x" * 500_000)
    await rig.lifecycle.create("room", {})
    for name in ("secret", "security_token"):
        form = urlencode({name: "s", "channel_name": "room", "payload": payload})
        response = await http.post("/rest/publish", data=form)
        assert json.loads(await response.text())[0] is True
    late = urlencode({"channel_name": "room", "payload": payload, "secret": "s"})
    response = await http.post("/rest/publish", data=late)
    assert response.status == 413
    response = await http.post("/rest/publish", data=late, headers={SECRET_HEADER: "s"})
    assert json.loads(await response.text())[0] is True


async def test_few_may_keep_us_waiting(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_UNPROVED", 2)
    waiting = [asyncio.create_task(sent_in_part(http, "", b"x=")) for _ in range(2)]
    await asyncio.sleep(0.3)
    assert (await sent_in_part(http, "", b"x=")).startswith(b"HTTP/1.1 503 ")
    response = await http.post("/rest/get_server_info", headers={SECRET_HEADER: "s"})
    assert json.loads(await response.text())[0] is True
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_secret_in_pieces(http: Http) -> None:
    reader, writer = await open_raw(http)
    form = b"&a=&channel_name=r%C3%A4&secret=%73&payload=1"
    writer.write(
        b"POST /rest/get_channel_info HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(form)
    )
    for byte in form:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.001)
    assert rb"Channel r\u00e4" in await asyncio.wait_for(reader.readuntil(b"}]"), 20)
    writer.close()


@pytest.mark.parametrize(
    ("call", "form", "status", "code", "msg"),
    [
        ("publish", {}, 400, "malformed", "Missing channel_name"),
        ("publish", {"channel_name": "a\n"}, 400, "malformed",
         "channel_name must not contain control characters"),
        ("publish", {"channel_name": "r", "payload": "{bad"}, 400, "malformed",
         "Invalid json for payload"),
        ("publish", {"channel_name": "r", "payload": "NaN"}, 400, "malformed",
         "Invalid json for payload"),
        ("publish", {"channel_name": "r", "options": "5"}, 400, "malformed",
         "options must be an object"),
        ("get_channel_info", {"channel_name": "é"}, 200, "no_channel", "Channel é doesn't exist"),
        ("set_channel_options", {"channel_name": "r", "junk": "x"}, 200, "no_channel",
         "Channel r doesn't exist"),
        ("subscribe", {"channel_name": "r", "name": "nobody"}, 400, "malformed",
         "User nobody doesn't exist"),
        ("unsubscribe", {"channel_name": "r", "name": "nobody"}, 400, "malformed",
         "Channel r doesn't exist"),
        ("set_config", {"cbport": "{"}, 400, "malformed",
         "Invalid json value for form key 'cbport'"),
        ("set_config", {"cbport": '"x"'}, 400, "malformed", None),
        ("recheck", {}, 400, "malformed", "Missing patterns"),
        ("recheck", {"patterns": '["("]'}, 400, "malformed", None),
        ("recheck", {"patterns": "[1]"}, 400, "malformed", None),
        ("disconnect", {}, 400, "malformed", "Missing name, conn_id or identity"),
        ("disconnect", {"name": "a", "code": "1006"}, 400, "malformed", None),
        ("disconnect", {"name": "a", "code": "-1"}, 400, "malformed", None),
        ("disconnect", {"name": "a", "code": "٤"}, 400, "malformed", None),
        ("message", {"sender_name": "a", "recipient_name": "b"}, 409, "refused",
         "User b doesn't exist"),
        ("list_channels", {"limit": "x"}, 400, "malformed", "limit must be a whole number"),
        ("list_channels", {"patterns": '["("]'}, 400, "malformed", None),
    ],
)  # fmt: skip
async def test_errors_are_honest(
    http: Http, call: str, form: dict[str, str], status: int, code: str, msg: str | None
) -> None:
    got, success, value = await post(http, call, **form)
    assert (got, success, value["code"]) == (status, False, code)
    assert msg is None or value["msg"] == msg


async def test_refusals_and_failures_of_the_site(rig: Rig, http: Http) -> None:
    for error, status in ((Refusal("not now"), 409), (WebhookFailed(), 502)):
        rig.site.answers["create_channel"] = error
        got, success, value = await post(http, "publish", channel_name="room")
        assert (got, success, value["msg"]) == (status, False, error.reason)
    assert rig.channels == {}


async def test_a_bug_says_nothing(rig: Rig, http: Http, caplog: pytest.LogCaptureFixture) -> None:
    rig.site.answers["create_channel"] = ZeroDivisionError("in the vault")
    status, success, value = await post(http, "publish", channel_name="room")
    assert (status, success, value["msg"]) == (500, False, "Internal error")
    assert "in the vault" in caplog.text


async def test_names_outside_ascii_are_those_of_clients(rig: Rig, http: Http) -> None:
    alice = await rig.connect("älice")
    await rig.subscribe(alice, "/räume/1/")
    _, success, value = await post(http, "publish", channel_name="/räume/1/", payload='"ü"')
    assert (success, value["delivered"]) == (True, 1)
    await post(http, "state_set_key", channel_name="/räume/1/", key="schlüssel", val="1")
    assert rig.channels["/räume/1/"].state == {"schlüssel": 1}
    assert (await post(http, "get_user_info", user_name="älice"))[2]["connections"] == 1
    assert list(rig.channels) == ["/räume/1/"]


# ---- publish ----------------------------------------------------------------------------------


async def test_decided_options_never_ask_the_site(rig: Rig) -> None:
    rig.site.took()
    form = {"channel_name": "room", "payload": "1", "recorded": "1"}
    assert await rig.rest("publish", **form, options='{"presenceful": true}') == {"delivered": 0}
    assert rig.channels == {}  # a channel without subscribers or history is not worth being
    await rig.rest("publish", **form, options='{"history_size": 2, "moderated_publish": true}')
    assert len(rig.channels["room"].history) == 1
    assert rig.site.calls == []
    assert rig.reported() == []


async def test_decided_options_during_somebody_elses_create_webhook(rig: Rig) -> None:
    alice = await rig.connect("alice")
    held = rig.site.hold("create_channel")
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    answer = await rig.rest("publish", channel_name="room", options='{"history_size": 2}')
    assert answer["delivered"] == 0
    held.set()
    await turns()
    assert [name for name, _ in alice.took()] == ["CHANNEL_INIT", "SUBSCRIBE"]
    assert len(rig.channels) == 1


async def test_without_options_the_site_is_asked(rig: Rig) -> None:
    await rig.rest("publish", channel_name="room", payload="[1]", originator="bob")
    assert rig.site.names() == ["create_channel"]
    (event,) = rig.reported()
    assert (event["event"], event["user"], event["source"], event["payload"]) == (
        "publish", "bob", "rest", [1],
    )  # fmt: skip


async def test_the_channel_is_created_before_the_payload_is_read(rig: Rig, http: Http) -> None:
    for _ in range(2):  # the second time it exists
        status, _, value = await post(http, "publish", channel_name="room", payload="{bad")
        assert (status, value["msg"]) == (400, "Invalid json for payload")
        assert list(rig.channels) == ["room"]
    assert rig.site.names() == ["create_channel"]


async def test_an_existing_channel_keeps_its_options(rig: Rig) -> None:
    await rig.lifecycle.create("room", {"history_size": 1})
    for number in range(2):
        await rig.rest(
            "publish", channel_name="room", payload=str(number), options='{"history_size": 9}'
        )
    assert len(rig.channels["room"].history) == 1


async def test_send_hook_asks_after_all(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    rig.site.took()
    rig.site.answers["publish"] = {"override_payload": 2, "publication": 4}
    await rig.rest("publish", channel_name="room", payload="1", send_hook="1")
    await turns()
    assert rig.site.names() == ["publish"]
    assert alice.took()[0][1]["payload"] == 2
    assert rig.reported()[-1]["publication"] == 4
    rig.site.answers["publish"] = Refusal("no")
    with pytest.raises(Refusal):
        await rig.rest("publish", channel_name="room", send_hook="1")


async def test_publish_multi_skips_unknown_channels(rig: Rig) -> None:
    alice = await rig.connect("alice")
    for name in ("a", "b"):
        await rig.subscribe(alice, name)
    answer = await rig.rest("publish_multi", channel_names="a,,x,b", payload="1")
    await turns()
    assert answer == {"delivered": 2}
    assert [args["channel_name"] for _, args in alice.took()] == ["a", "b"]
    with pytest.raises(BadCall):
        await rig.rest("publish_multi", channel_names=",")


async def test_publish_many(rig: Rig) -> None:
    alice = await rig.connect("alice")
    for name in ("a", "b"):
        await rig.subscribe(alice, name)
    alice.took()
    publications = [
        {"channel_name": "a", "payload": "1", "originator": "eve"},
        {"channel_name": "b", "payload": '{"x": "ü"}'},
        {"channel_name": "new", "payload": "1", "options": {}},
        {"channel_name": "a", "payload": "{"},
        {"channel_name": "a\n", "payload": "1"},
        {"channel_name": "c", "payload": "1", "options": {"durable": True}},
        {"channel_name": "a", "payload": "2"},
    ]
    answer = await rig.rest("publish_many", publications=json.dumps(publications), recorded="1")
    await turns()
    outcomes = answer["outcomes"]
    delivered = [outcome.get("delivered") for outcome in outcomes]
    assert delivered == [1, 1, 0, None, None, None, 1]
    assert [bool(outcome["msg"]) for outcome in outcomes] == [each is None for each in delivered]
    assert [outcome["code"] for outcome in outcomes[3:5]] == ["malformed"] * 2
    took = [(args["channel_name"], args["payload"], args.get("user")) for _, args in alice.took()]
    # In order on each channel; what one turn publishes to a channel leaves together.
    assert [each for each in took if each[0] == "a"] == [("a", 1, "eve"), ("a", 2, None)]
    assert [each for each in took if each[0] == "b"] == [("b", {"x": "ü"}, None)]
    for wrong in ("", "1", "[1]", '[{"payload": "1"}]'):
        with pytest.raises(BadCall):
            await rig.rest("publish_many", publications=wrong)
    assert await rig.rest("publish_many", publications="[]") == {"outcomes": []}


async def test_messages(rig: Rig) -> None:
    alice = await rig.connect("alice")
    form = {"sender_name": "the site", "recipient_name": "alice", "payload": "[1]"}
    assert await rig.rest("message", **form) == {"delivered": 1}
    assert alice.took()[0][1]["sender"] == "the site"
    rig.site.took()
    rig.site.answers["message"] = {"override_payload": 3}
    await rig.rest("message", **form, send_hook="1")
    assert alice.took()[0][1]["payload"] == 3
    assert rig.site.took()[0][1]["recipient_exists"] == "True"


# ---- subscriptions and connections ------------------------------------------------------------


async def test_subscribe_and_unsubscribe(rig: Rig) -> None:
    one, two = await rig.connect("alice"), await rig.connect("alice")
    rig.site.took()
    for _ in range(2):
        assert await rig.rest("subscribe", channel_name="room", name="alice") == {}
    assert rig.site.names() == ["create_channel"]
    assert one.names() == two.names() == ["SUBSCRIBE"]
    assert rig.channels["room"].subscribers["alice"].by_code
    await rig.rest("unsubscribe", channel_name="room", name="alice", reason="enough")
    assert two.took()[0][1]["reason"] == "enough"
    await turns()
    assert rig.site.names() == ["destroy_channel"]
    assert [(e["event"], e["by"]) for e in rig.reported()] == [
        ("subscribe", "rest"), ("unsubscribe", "rest"),
    ]  # fmt: skip
    with pytest.raises(BadCall):
        await rig.rest("unsubscribe", channel_name="room", name="alice")


async def test_subscribe_with_decided_options(rig: Rig) -> None:
    await rig.connect("alice")
    rig.site.took()
    await rig.rest("subscribe", channel_name="room", name="alice", options='{"history_size": 1}')
    assert rig.site.calls == []
    assert rig.channels["room"].options.history_size == 1


async def test_subscribing_who_leaves_during_the_create_webhook(rig: Rig) -> None:
    alice = await rig.connect("alice")
    held = rig.site.hold("create_channel")
    call = asyncio.create_task(rig.rest("subscribe", channel_name="room", name="alice"))
    await turns()
    await rig.leave(alice)
    held.set()
    with pytest.raises(Refusal):
        await call
    assert not rig.channels["room"].subscribers


async def test_subscriptions_with_send_hook(rig: Rig) -> None:
    alice = await rig.connect("alice")
    rig.site.took()
    rig.site.answers["subscribe"] = {"initial_data": 5}
    form = {"channel_name": "room", "name": "alice", "send_hook": "1"}
    await rig.rest("subscribe", **form)
    assert alice.took()[0][1]["initial_data"] == 5
    rig.site.answers["unsubscribe"] = Refusal("stay")
    with pytest.raises(Refusal):
        await rig.rest("unsubscribe", **form)
    assert rig.site.names() == ["create_channel", "subscribe", "unsubscribe"]
    assert "alice" in rig.channels["room"].subscribers


@pytest.mark.parametrize(
    ("named", "hit"),
    [
        ({"name": "alice"}, [0, 1]),
        ({"identity": "session:1"}, [0, 2]),
        ({"name": "alice", "identity": "session:1"}, [0]),
        ({"name": "nobody"}, []),
        ({"identity": "session:9"}, []),
        ({"name": "bob", "identity": "session:2"}, []),
    ],
)
async def test_disconnect(rig: Rig, named: dict[str, str], hit: list[int]) -> None:
    clients = []
    for name, identity in (("alice", "1"), ("alice", "2"), ("bob", "1")):
        rig.site.answers["connect"] = {"identity": f"session:{identity}"}
        clients.append(await rig.connect(name))
    answer = await rig.rest("disconnect", **named, code="4501", reason="gone")
    assert answer == {"disconnected": len(hit)}
    ends = [client.end and client.end.code for client in clients]
    assert ends == [4501 if number in hit else None for number in range(3)]


@pytest.mark.parametrize(
    ("named", "hit"),
    [
        ({"names": '["alice", "nobody"]'}, [0, 1]),
        ({"identities": '["session:1", "session:9"]'}, [0, 2]),
        ({"identities": '["session:2"]', "names": '["bob"]'}, [1, 2]),
        ({"identities": "[]", "names": "[]"}, []),
        ({"names": '[""]', "identities": '[""]'}, []),
    ],
)
async def test_disconnect_many(rig: Rig, named: dict[str, str], hit: list[int]) -> None:
    await test_disconnect(rig, named, hit)


@pytest.mark.parametrize(
    "named",
    [{"names": '["alice"]', "name": "alice"}, {"identities": '"x"'}, {"names": "[1]"}],
)
async def test_disconnect_many_of_nothing_sensible(rig: Rig, named: dict[str, str]) -> None:
    with pytest.raises(BadCall, match=r"identities|names"):
        await rig.rest("disconnect", **named)


async def test_disconnect_one(rig: Rig) -> None:
    one, two = await rig.connect("alice"), await rig.connect("alice")
    assert await rig.rest("disconnect", conn_id=one.id) == {"disconnected": 1}
    assert one.end is not None
    assert (one.end.code, two.end) == (4500, None)
    wrong = await rig.rest("disconnect", conn_id=two.id, name="bob")
    assert wrong == {"disconnected": 0}


# ---- channels, users, looking -----------------------------------------------------------------


async def test_create_and_destroy(rig: Rig) -> None:
    await rig.rest("create_channel", channel_name="room", history_size="3", state='{"k": 1}')
    channel = rig.channels["room"]
    assert (channel.options.history_size, channel.state) == (3, {"k": 1})
    with pytest.raises(Refusal):
        await rig.rest("create_channel", channel_name="room")
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    rig.site.answers["destroy_channel"] = Refusal("no")
    with pytest.raises(Refusal):
        await rig.rest("destroy_channel", channel_name="room", send_hook="1")
    await rig.rest("destroy_channel", channel_name="room")
    assert alice.names() == ["UNSUBSCRIBE"]
    assert rig.channels == {}
    rig.site.answers["create_channel"] = {"history_size": 7}
    await rig.rest("create_channel", channel_name="room", send_hook="1")
    assert rig.channels["room"].options.history_size == 7


async def test_wrong_options_change_nothing(http: Http, rig: Rig) -> None:
    await rig.lifecycle.create("room", {"state": {"a": 1}})
    for wrong in ({"history_size": "1.5"}, {"history_size": "many"}, {"colour": '"red"'},
                  {"history_duration": "9" * 400}, {"polling": '{"interval": 1e400}'}):  # fmt: skip
        status, success, _ = await post(
            http, "set_channel_options", channel_name="room", state="{}", **wrong
        )
        assert (status, success) == (400, False)
    assert rig.channels["room"].state == {"a": 1}


async def test_state(rig: Rig) -> None:
    await rig.lifecycle.create("room", {})
    await rig.rest("state_set_key", channel_name="room", key="k", val="null")
    assert rig.channels["room"].state == {"k": None}
    await rig.rest("state_delete_key", channel_name="room", key="k")
    assert rig.channels["room"].state == {}
    for call in ("state_set_key", "state_delete_key"):
        with pytest.raises(BadCall, match="Missing 'key' argument"):
            await rig.rest(call, channel_name="room", val="1")
    with pytest.raises(BadCall, match="Missing 'val' argument"):
        await rig.rest("state_set_key", channel_name="room", key="k")


async def test_the_webhook_secret_is_shown_nowhere(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(webhook_secret="hush-hush")
    polling = {"mode": "once", "url": "http://127.0.0.1:1/", "interval": 1000}
    await rig.lifecycle.create("room", {"polling": polling})
    client = await rig.connect("alice")
    seen = [
        await rig.rest(call, channel_name="room", user_name="alice")
        for call in ("get_channel_info", "get_server_info", "get_user_info", "list_connections")
    ]
    assert "hush-hush" not in json.dumps(seen)
    assert client.id in json.dumps(seen)
    await rig.server.channels.pollers.stop()
    await turns()


async def test_users(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    info = await rig.rest("get_user_info", user_name="alice")
    assert (info["connections"], info["channels"]) == (1, ["room"])
    await rig.rest("set_user_options", user_name="alice", reflective="false")
    assert alice.user is not None
    assert not alice.user.options.reflective
    for wrong in ({"colour": "1"}, {"reflective": '"no"'}):
        with pytest.raises(ValueError):
            await rig.rest("set_user_options", user_name="alice", **wrong)


async def test_lists(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    for number in range(3):
        await rig.subscribe(alice, f"/a/{number}/")
    await rig.subscribe(bob, "/a/1/")
    await rig.subscribe(bob, "/b/")
    rig.client()  # has not connected yet
    found = await rig.rest("list_channels", prefix="/a/", limit="2")
    assert found["total"] == 3
    assert [(c["name"], c["subscribers"]) for c in found["channels"]] == [
        ("/a/1/", 2),
        ("/a/0/", 1),
    ]
    found = await rig.rest("list_channels", patterns='["/a/[12]/", "/b"]')
    assert (found["total"], [c["name"] for c in found["channels"]]) == (2, ["/a/1/", "/a/2/"])
    assert (await rig.rest("list_channels", patterns="[]"))["total"] == 0
    found = await rig.rest("list_connections", name="bob")
    assert (found["total"], found["connections"][0]["channels"]) == (1, ["/a/1/", "/b/"])
    assert (await rig.rest("list_connections", limit="1"))["total"] == 2
    info = await rig.rest("get_server_info")
    assert (info["users"], info["channels"], info["connections"]) == (2, 4, 3)


async def test_the_tail_of_a_channel(make_rig: Callable[..., Rig], http: Http) -> None:
    rig = make_rig(recovery_seconds=60)
    bob = await rig.connect("bob")
    await rig.subscribe(bob, "room")
    assert await rig.rest("tail", channel_name="room") == {"kept": True, "publications": []}
    for number in range(60):
        await rig.rest("publish", channel_name="room", payload=str(number), originator="alice")
    found = (await rig.rest("tail", channel_name="room", payloads="1"))["publications"]
    assert [one["offset"] for one in found] == list(range(60, 10, -1))
    assert (found[0]["payload"], found[0]["user"]) == ("59", "alice")
    assert found[0]["at"] > 0
    found = (await rig.rest("tail", channel_name="room"))["publications"]
    assert {one.get("payload") for one in found} == {None}, "nobody asked for them"
    await rig.rest("set_channel_options", channel_name="room", anonymous="true")
    found = (await rig.rest("tail", channel_name="room"))["publications"]
    assert {one["user"] for one in found} == {""}
    rig.check()


async def test_long_payloads_are_missing_from_a_tail(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(recovery_seconds=60)
    await rig.subscribe(await rig.connect("bob"), "room")
    for length in (10, 100_000, 200_000):
        await rig.rest("publish", channel_name="room", payload=json.dumps("x" * length))
    found = (await rig.rest("tail", channel_name="room", payloads="1"))["publications"]
    assert ["payload" in one for one in found] == [True, False, True]


async def test_a_channel_without_a_stream_has_no_tail(rig: Rig, http: Http) -> None:
    await rig.subscribe(await rig.connect("bob"), "room")
    await rig.rest("publish", channel_name="room", payload="1")
    assert (await rig.rest("tail", channel_name="room"))["kept"] is (
        rig.channels["room"].stream is not None
    )
    assert (await post(http, "tail", channel_name="none"))[1:] == (
        False, {"msg": "Channel none doesn't exist", "code": "no_channel"}
    )  # fmt: skip


async def test_set_config(rig: Rig, http: Http) -> None:
    before = rig.server.config.webhook_url
    await rig.rest("set_config", cbport="9999", rest_secret='"new"', colour='"red"')
    assert rig.site.config.webhook_url == before.replace("8000", "9999")
    assert (await post(http, "get_server_info"))[1] is False
    assert (await post(http, "get_server_info", secret="new"))[1] is True


# ---- the size of calls ------------------------------------------------------------------------


@pytest.mark.parametrize("header", [True, False])
async def test_all_calls_together_are_bounded(make_rig: Callable[..., Rig], header: bool) -> None:
    rig = make_rig(max_payload_size=4096, max_rest_bytes=3_000_000)
    budget = rig.server.service.rest._bodies._budget
    async with serving(rig) as http:
        await rig.lifecycle.create("room", {})

        async def begin(size: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await open_raw(http)
            proof = f"{SECRET_HEADER}: {to_header('s')}\r\n" if header else ""
            first = b"" if header else b"secret=s&"
            writer.write(
                f"POST /rest/state_set_key HTTP/1.1\r\nHost: x\r\n{proof}"
                f"Content-Length: {size}\r\n\r\n".encode()
                + first
                + b"x="
                + b"x" * (size // 2)
            )
            return reader, writer

        large = [await begin(1_000_000) for _ in range(8)]
        answered: list[tuple[bytes, bytes]] = []

        async def answer(reader: asyncio.StreamReader) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            answered.append((head, await reader.read(500)))

        waiting = [asyncio.create_task(answer(reader)) for reader, _ in large]
        await until(lambda: len(answered) >= 2)
        assert all(b" 503 " in head for head, _ in answered)
        assert all(b"HOOKBOX_MAX_REST_BYTES" in body for _, body in answered)
        assert budget.used <= 3_300_000
        # Small calls are answered nevertheless.
        form = {"channel_name": "room", "key": "k", "val": "1"}
        assert (await post(http, "state_set_key", **form))[:2] == (200, True)
        for _, writer in large:
            writer.close()
        for task in waiting:
            task.cancel()
        await until(lambda: budget.used == 0)


async def test_a_call_counts_until_it_is_answered(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    budget = rig.server.service.rest._bodies._budget
    async with serving(rig) as http:
        held = rig.site.hold("create_channel")
        form = {"channel_name": "room", "payload": json.dumps("x" * 50_000)}
        call = asyncio.create_task(post(http, "publish", **form))
        await until(lambda: rig.site.calls)
        assert budget.used > 50_000
        held.set()
        assert (await call)[:2] == (200, True)
        assert budget.used == 0


async def test_the_largest_call_fits_whatever_the_settings_say(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(max_payload_size=300_000, max_rest_bytes=5000)
    async with serving(rig) as http:
        await rig.lifecycle.create("room", {})
        form = {"channel_name": "room", "payload": json.dumps("\n" * 140_000)}
        assert (await post(http, "publish", **form))[:2] == (200, True)


async def test_what_code_publishes_is_reported_with_its_origin(rig: Rig) -> None:
    await rig.subscribe(await rig.connect("alice"), "room")
    origin = {"source": "code", "user": "eve", "decided_by": "policy:rooms", "reason": "open"}
    form = {"payload": "[1]", "options": "{}", "recorded": "1", "origin": json.dumps(origin)}
    for name, delivered in (("room", 1), ("nobody", 0)):
        answer = await rig.rest("publish", channel_name=name, originator="shown", **form)
        assert (answer["delivered"], answer["reported"]) == (delivered, True)
    many = [{"channel_name": "room", "payload": "2", "origin": origin}, {"channel_name": "room"}]
    answer = await rig.rest("publish_many", publications=json.dumps(many), recorded="1")
    assert [each.get("reported") for each in answer["outcomes"]] == [True, None]
    published = [event for event in rig.reported() if event["event"] == "publish"]
    assert [(each["channel_name"], each["delivered"]) for each in published] == [
        ("room", 1), ("nobody", 0), ("room", 1),
    ]  # fmt: skip
    for event in published:
        assert {name: event[name] for name in origin} == origin


async def test_a_site_that_takes_no_events_records_what_it_publishes(rig: Rig) -> None:
    rig.site.accepted = frozenset()
    answer = await rig.rest(
        "publish", channel_name="room", options="{}", recorded="1", origin='{"source":"code"}'
    )
    assert answer == {"delivered": 0}
    assert rig.reported() == []


async def test_disconnect_by_address_and_for_some_time(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    assert bob.handshake.remote_addr == "10.0.0.1"
    answer = await rig.rest("disconnect", addresses='["192.0.2.0/24", "nonsense"]')
    assert answer == {"disconnected": 0}
    answer = await rig.rest("disconnect", addresses='["10.0.0.0/8"]', seconds="30")
    assert answer == {"disconnected": 2}
    assert alice.end is not None
    assert bob.end is not None
    late = rig.client()
    await rig.send(late, "CONNECT", cookie_string="", payload='"carol"')
    assert late.end is not None, "the site may have decided before it knew"
    with pytest.raises(BadCall, match="cannot be combined"):
        await rig.rest("disconnect", addresses='["::/0"]', name="alice")


# ---- without a task -----------------------------------------------------------------------------


def form_of(**fields: str) -> bytes:
    return urlencode({"secret": "s", **fields}).encode()


async def test_a_publication_to_a_live_channel_is_answered_at_once(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice, "room")
    rest = rig.server.service.rest
    answer = rest.begin("publish", None, form_of(channel_name="room", payload="[1]"))
    assert isinstance(answer, tuple)
    assert answer[0] == 200
    assert json.loads(answer[1])[1]["delivered"] == 1
    assert rest._bodies._budget.used == 0
    await turns()
    assert [args["payload"] for _, args in alice.took()] == [[1]]
    (event,) = [each for each in rig.reported() if each["event"] == "publish"]
    assert (event["source"], event["delivered"]) == ("rest", 1)


@pytest.mark.parametrize(
    ("form", "status", "told"),
    [
        ({"channel_name": "room", "payload": "x"}, 400, "Invalid json for payload"),
        ({"payload": "1"}, 400, "Missing channel_name"),
        ({"channel_name": "room", "secret": "x"}, 200, "Invalid secret"),
        ({"channel_name": "x" * 3000}, 400, "channel_name"),
    ],
)
async def test_a_mistake_is_answered_at_once(
    rig: Rig, form: dict[str, str], status: int, told: str
) -> None:
    await rig.lifecycle.create("room", {})
    answer = rig.server.service.rest.begin("publish", None, form_of(**form))
    assert isinstance(answer, tuple)
    assert answer[0] == status
    assert told in answer[1].decode()
    assert rig.server.service.rest._bodies._budget.used == 0


@pytest.mark.parametrize(
    "form",
    [
        {"channel_name": "new", "payload": "1"},
        {"channel_name": "room", "payload": "1", "key": "k"},
        {"channel_name": "room", "payload": "1", "send_hook": "1"},
    ],
)
async def test_a_publication_that_waits_for_something(rig: Rig, form: dict[str, str]) -> None:
    await rig.lifecycle.create("room", {})
    rest = rig.server.service.rest
    answer = rest.begin("publish", None, form_of(**form))
    assert not isinstance(answer, tuple)
    assert rest._bodies._budget.used > 0
    status, body = await answer
    assert status == 200
    assert b"delivered" in body
    assert rest._bodies._budget.used == 0


async def test_a_publication_that_waits_for_the_engine(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(engine=FarEngine())
    alice = await rig.connect("alice")
    await rig.subscribe(alice, "room")
    rest = rig.server.service.rest
    answers = [
        rest.begin("publish", None, form_of(channel_name="room", payload=str(number)))
        for number in range(3)
    ]
    assert not any(isinstance(answer, tuple) for answer in answers)
    for answer in reversed(answers):
        assert not isinstance(answer, tuple)
        status, body = await answer
        assert (status, json.loads(body)[0]) == (200, True)
    await turns()
    assert [args["payload"] for _, args in alice.took()] == [0, 1, 2]
    assert rest._bodies._budget.used == 0


async def test_a_bug_in_a_publication(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.lifecycle.create("room", {})

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rig.server.service.rest._calls._publications, "begin", broken)
    answer = rig.server.service.rest.begin(
        "publish", None, form_of(channel_name="room", payload="1")
    )
    assert isinstance(answer, tuple)
    assert answer[0] == 500
    assert "ZeroDivisionError" in caplog.text
