"""Who gets in, and as whom: origins, cookies, tokens, anonymous visitors."""

from __future__ import annotations

import pytest
import requests
from websockets.exceptions import InvalidStatus

from djhookbox.users.identity import issue_anonymous_id

from ..stand_ins.client import Refused, client
from ..stand_ins.waiting import PATIENCE
from .conftest import Enter
from .processes import Hookbox, Site

FOREIGN = (
    "https://evil.example",
    "http://127.0.0.1.evil.example",
    "http://evil.example/127.0.0.1",
    "http://evil127.0.0.1",
    "http://127.0.0.1@evil.example",
    "null",
    "*",
    "",
    "file://",
    "chrome-extension://127.0.0.1",
)


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_elsewhere_cannot_use_a_victims_cookies(
    origin: str, site: Site, hookbox: Hookbox, word: str
) -> None:
    session = site.do("sign_in", f"alice{word}")
    headers = {"Origin": origin}
    with (
        pytest.raises(InvalidStatus) as refused,
        client(hookbox.websocket, origin=None, session=session, headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 403
    assert hookbox.connections(f"alice{word}") == 0


@pytest.mark.parametrize("path", ["/ws", "/rest/get_server_info", "/web/publish", "/"])
def test_neither_fetch_nor_script_get_anything(
    path: str, site: Site, hookbox: Hookbox, word: str
) -> None:
    session = site.do("sign_in", f"alice{word}")
    for headers in ({"Origin": "https://evil.example"}, {}):
        for method in ("GET", "POST", "OPTIONS"):
            answer = requests.request(
                method,
                f"{hookbox.url}{path}",
                cookies={"sessionid": session},
                headers=headers,
                timeout=PATIENCE,
            )
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert f"alice{word}" not in answer.text
            # REST refuses with 200, as Hookbox always did.
            assert answer.status_code >= 400 or answer.json()[0] is False


def test_a_missing_origin_proves_nothing(site: Site, hookbox: Hookbox, word: str) -> None:
    session = site.do("sign_in", f"alice{word}")
    for headers in ({}, {"Sec-Fetch-Site": "none"}):
        with client(hookbox.websocket, origin=None, session=session, headers=headers) as page:
            assert page.connect()["name"].startswith(" _")


def test_same_origin_counts(site: Site, hookbox: Hookbox, word: str) -> None:
    session = site.do("sign_in", f"alice{word}")
    headers = {"Sec-Fetch-Site": "same-origin"}
    with client(hookbox.websocket, origin=None, session=session, headers=headers) as page:
        assert page.connect()["name"] == f"alice{word}"


def test_cookie_string_adds_what_the_handshake_lacks(
    site: Site, hookbox: Hookbox, word: str
) -> None:
    alice, bob = (site.do("sign_in", f"{who}{word}") for who in ("alice", "bob"))
    with client(hookbox.websocket, origin=site.origin) as page:
        assert page.connect(cookie_string=f"sessionid={alice}")["name"] == f"alice{word}"
    with client(hookbox.websocket, origin=site.origin, session=bob) as page:
        assert page.connect(cookie_string=f"sessionid={alice}")["name"] == f"bob{word}"


def test_a_token_needs_no_cookies(site: Site, hookbox: Hookbox, word: str) -> None:
    site.do("sign_in", f"alice{word}")
    bob = site.do("sign_in", f"bob{word}")
    tokens = [site.do("connect_token", f"alice{word}") for _ in range(3)]
    with client(hookbox.websocket, origin=None) as app:
        assert app.connect(token=tokens[0])["name"] == f"alice{word}"
    with client(hookbox.websocket, origin=site.origin, session=bob) as page:
        assert page.connect(token=tokens[1])["name"] == f"alice{word}"
    token = tokens[2]
    with client(hookbox.websocket, origin=None) as app:
        with pytest.raises(Refused) as refusal:
            app.connect(token=token[:-1] + ("A" if token[-1] != "A" else "B"))
        assert refusal.value.code == "session_expired"
        assert app.connect(token=token)["name"] == f"alice{word}", "it stays usable"
    for token in tokens:  # once
        with client(hookbox.websocket, origin=None) as app:
            with pytest.raises(Refused, match="already") as refusal:
                app.connect(token=token)
            assert refusal.value.code == "session_expired"


def test_a_visitor_reaches_what_is_open_to_everyone(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/open/", subscribe_audience="everyone", publish_audience="everyone")
    site.do("policy", f"/{word}/closed/", subscribe_audience="signed_in")
    site.do("policy", f"/{word}/<username>/", subscribe_audience="named_user")
    visitor, other = enter(), enter()
    assert visitor.name.startswith(" _")
    assert visitor.name != other.name
    visitor.subscribe(f"/{word}/open/")
    other.subscribe(f"/{word}/open/")
    visitor.publish(f"/{word}/open/", "hello")
    message = other.expect("PUBLISH")
    assert (message["payload"], message["user"]) == ("hello", visitor.name)
    for closed in ("closed", visitor.name, "", "handled"):
        with pytest.raises(Refused) as refusal:
            visitor.subscribe(f"/{word}/{closed}/")
        assert refusal.value.code == "refused"


def test_a_visitor_keeps_the_name_of_the_signed_id(enter: Enter) -> None:
    token = issue_anonymous_id()
    first, second = enter(token=token), enter(token=token)
    assert first.name == second.name
    assert first.name.startswith(" _")
    assert enter(token=issue_anonymous_id()).name != first.name
    with pytest.raises(Refused):
        enter(token=token.replace(":", "x:"))


def test_an_account_cannot_pass_for_a_visitor(site: Site, enter: Enter, word: str) -> None:
    with pytest.raises(Refused) as refusal:
        enter(f" _{word}")
    assert "reserved" in refusal.value.msg


def test_only_the_expected_user_comes_back(site: Site, enter: Enter, word: str) -> None:
    assert enter(f"alice{word}", expect_user=f"alice{word}").name == f"alice{word}"
    for name in ("", f"bob{word}"):
        with pytest.raises(Refused) as refusal:
            enter(name, expect_user=f"alice{word}")
        assert refusal.value.code == "session_expired"


def test_webhooks_are_closed_to_strangers(site: Site, word: str) -> None:
    session = site.do("sign_in", f"alice{word}")
    for hook in ("connect", "subscribe", "publish", "events", "recheck"):
        for secret in ("", "guess"):
            answer = requests.post(
                f"{site.origin}/hookbox/{hook}",
                {"secret": secret, "action": hook},
                cookies={"sessionid": session},
                timeout=PATIENCE,
            )
            assert answer.status_code == 403
