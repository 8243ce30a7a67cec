"""The maximum size of a payload: Django refuses more, and the process has the same limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import djhookbox
from djhookbox import client
from djhookbox.client import http
from djhookbox.conf import settings as conf
from djhookbox.exceptions import PayloadError
from djhookbox.models import Publication
from djhookbox.server.config import ServerConfig

from .server.running import Start, read, send, site, start  # noqa: F401 - fixtures
from .stand_ins.process import Answer, FakeHookbox, fake_hookbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hookbox(settings: Any) -> Iterator[FakeHookbox]:
    http.forget_connections()
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        fake.replies(True, {"delivered": 1})
        yield fake
    http.forget_connections()


def test_too_much_is_refused_before_anything_is_sent(
    hookbox: FakeHookbox, settings: Any, make_policy: Callable[..., Any]
) -> None:
    make_policy("/a/")
    hookbox.requests.clear()
    with pytest.raises(PayloadError) as caught:
        djhookbox.publish("/a/", "x" * 20_000_000)
    text = str(caught.value)
    assert "20000002 bytes" in text
    assert "4194304" in text
    assert "HOOKBOX_MAX_PAYLOAD_SIZE" in text
    assert caught.value.code == "limit"
    assert hookbox.requests == []
    assert not Publication.objects.exists()


def test_bytes_count_and_not_characters(
    hookbox: FakeHookbox, settings: Any, make_policy: Callable[..., Any]
) -> None:
    make_policy("/a/")
    settings.HOOKBOX_MAX_PAYLOAD_SIZE = 1024
    assert djhookbox.publish("/a/", "x" * 1022) == 1
    with pytest.raises(PayloadError):
        djhookbox.publish("/a/", "x" * 1023)
    with pytest.raises(PayloadError):
        djhookbox.publish("/a/", "\N{GRINNING FACE}" * 86)  # 12 bytes each, in JSON
    with pytest.raises(PayloadError):
        djhookbox.state_set("/a/", "key", "x" * 1023)  # every call that sends what code gives


async def test_apublish_refuses_too(hookbox: FakeHookbox, settings: Any) -> None:
    with pytest.raises(PayloadError, match="HOOKBOX_MAX_PAYLOAD_SIZE"):
        await djhookbox.apublish("/a/", "x" * 5_000_000)


def test_a_process_or_proxy_that_takes_less_is_named(
    hookbox: FakeHookbox, make_policy: Callable[..., Any]
) -> None:
    make_policy("/a/")
    hookbox.answer = lambda request: Answer(413, "<html>413 Request Entity Too Large</html>")
    with pytest.raises(PayloadError) as caught:
        djhookbox.publish("/a/", "x")
    assert "too large (413)" in str(caught.value)
    assert "HOOKBOX_MAX_PAYLOAD_SIZE" in str(caught.value)
    assert "HOOKBOX_REST_URL" not in str(caught.value)
    assert caught.value.status == 413


@pytest.mark.usefixtures("real_process")
async def test_the_process_takes_what_django_sends(start: Start, settings: Any) -> None:  # noqa: F811
    """Also where each byte becomes three on its way, as quotes and brackets do."""
    limit = 700_000
    one = await start(max_payload_size=limit)
    settings.HOOKBOX_REST_URL, settings.HOOKBOX_REST_SECRET = one.address, "s"
    settings.HOOKBOX_TIMEOUT = 20
    assert ServerConfig().max_payload_size == conf.max_payload_size
    browser = await one.open("alice", max_msg_size=0)
    await send(browser, "SUBSCRIBE", channel_name="/a/")
    assert (await read(browser))[1] == "SUBSCRIBE"
    payload = "{" * (limit - 2)
    reached = await asyncio.to_thread(client.publish, "/a/", f'"{payload}"')
    assert reached.delivered == 1
    assert len((await read(browser))[2]["payload"]) == len(payload)
    with pytest.raises(PayloadError, match="413"):
        await asyncio.to_thread(client.publish, "/a/", f'"{payload}{{"')
    http.forget_connections()
