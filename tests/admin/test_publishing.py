"""Publishing from the admin: to one channel, to several, to those of policies."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.test import Client

from djhookbox.client import calls as rest
from djhookbox.exceptions import HookboxMisconfigured
from djhookbox.models import ChannelPolicy, Publication
from djhookbox.wire.answers import Published

from .stand_in import APP, Hookbox, messages_of, person, signed_in

PUBLISH = f"{APP}publishing/"


@pytest.fixture(autouse=True)
def _no_forms_sent() -> None:
    cache.clear()


@pytest.fixture
def publisher(db: None) -> Client:
    """May publish, and see the history, nothing else."""
    return signed_in(person("publisher", "publish_message", "view_publication", "view_payload"))


def token_of(page: Any) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page.content.decode())
    assert found
    return found[1]


# ---- who and where ---------------------------------------------------------------------------


def test_the_menu_leads_to_it(publisher: Client, viewer: Client) -> None:
    for page in ("/admin/", APP):
        assert f'<a href="{PUBLISH}"' in publisher.get(page).content.decode()
        assert PUBLISH not in viewer.get(page).content.decode()


def test_only_publishers_reach_it(viewer: Client, staff: Client, stranger: Client) -> None:
    for page in (PUBLISH, f"{PUBLISH}channels/", f"{PUBLISH}audience/"):
        for client in (viewer, staff):
            assert client.get(page).status_code == 403
            assert client.post(page).status_code == 403
        for nobody in (stranger, Client()):
            assert nobody.get(page).status_code == 302


def test_old_addresses_lead_here_with_what_they_know(publisher: Client, rows: Any) -> None:
    response = publisher.get(f"{APP}publication/publish/?channel=/a%26b/")
    assert response["Location"] == f"{PUBLISH}?channel=%2Fa%26b%2F"
    assert (
        f'href="{APP}publication/publish/"' in publisher.get(f"{APP}publication/").content.decode()
    )


# ---- one channel -----------------------------------------------------------------------------


def test_a_message_is_published_in_the_users_name(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    hookbox.live = {"/front/": 17, "/front/more/": 5}
    page = publisher.get(f"{PUBLISH}?channel=/front/").content.decode()
    assert 'value="/front/"' in page
    assert "17 connections will receive it." in page
    assert "Policy “Front” decides for this channel." in page
    data = {"channel": "/front/", "payload": '{"text": "Grüße"}'}
    response = publisher.post(PUBLISH, data, follow=True)
    assert messages_of(response) == ["Published to /front/; it reached 2 connections."]
    assert hookbox.published == [("/front/", '{"text":"Gr\\u00fc\\u00dfe"}')]
    row = Publication.objects.latest("pk")
    assert (row.source, row.status, row.user_name) == ("admin", "sent", "publisher")
    assert (row.payload, row.delivered) == ({"text": "Grüße"}, 2)
    assert "Grüße" in response.content.decode(), "the list shows how the message begins"
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.get_change_message()) == (
        "/front/: sent", "Published, reached 2 connections.",
    )  # fmt: skip
    assert entry.get_admin_url() is None


def test_nobody_there_is_no_failure(publisher: Client, rows: Any, hookbox: Hookbox) -> None:
    hookbox.delivered = 0
    assert (
        "Nobody is currently subscribed"
        in publisher.get(f"{PUBLISH}?channel=/front/").content.decode()
    )
    response = publisher.post(PUBLISH, {"channel": "/front/", "payload": "null"}, follow=True)
    assert messages_of(response) == ["Published to /front/; nobody is currently subscribed."]


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        (["/front/"], "Published to /front/."),
        (["/front/", "/news/a/"], "Published to 2 channels."),
    ],
)
def test_what_was_not_counted_is_not_called_nobody(
    publisher: Client,
    rows: Any,
    hookbox: Hookbox,
    monkeypatch: pytest.MonkeyPatch,
    channels: list[str],
    said: str,
) -> None:
    """The genuine Hookbox 0.3.3 does not say how many it reached."""
    monkeypatch.setattr("djhookbox.client.publish", lambda *args, **kwargs: Published())
    data = {"channel": channels, "payload": "null", "confirmed": "1"}
    assert messages_of(publisher.post(PUBLISH, data, follow=True)) == [said]
    assert LogEntry.objects.first().get_change_message() == "Published."


@pytest.mark.parametrize(
    ("channel", "payload", "words"),
    [
        ("/front/", "{text: 1}", "This is not JSON: "),
        ("/front/", "hello", "Strings need double quotes: &quot;hello&quot;."),
        ("/front/", "", "This field is required."),
        ("", "1", "This field is required."),
        ("/fr\nont/", "1", "control characters"),
        ("x" * 256, "1", "at most 255"),
        ("/elsewhere/", "1", "The message was not published."),
    ],
)
def test_mistakes_leave_the_form_filled_in(
    publisher: Client, rows: Any, hookbox: Hookbox, channel: str, payload: str, words: str
) -> None:
    response = publisher.post(PUBLISH, {"channel": channel, "payload": payload})
    page = response.content.decode()
    assert response.status_code == 200
    assert words in page
    assert payload in page
    assert not hookbox.published
    assert not LogEntry.objects.exists()


def test_checking_publishes_nothing(publisher: Client, rows: Any, hookbox: Hookbox) -> None:
    hookbox.live = {"/front/": 1}
    data = {"channel": "/front/", "payload": "[1]", "check": ""}
    page = publisher.post(PUBLISH, data).content.decode()
    assert "The message is JSON and can be published." in page
    assert "1 connection will receive it." in page
    assert not hookbox.published
    page = publisher.post(PUBLISH, {**data, "payload": "["}).content.decode()
    assert "can be published" not in page


@pytest.mark.parametrize("payload", ["x" * 1_000_000, "💬<script>'\"" * 60_000])
def test_a_megabyte(publisher: Client, rows: Any, hookbox: Hookbox, payload: str) -> None:
    hookbox.live = {"/front/": 101}
    data = {"channel": "/front/", "payload": json.dumps(payload, ensure_ascii=False)}
    question = publisher.post(PUBLISH, data)
    assert question.status_code == 200
    assert b"<script>'" not in question.content
    response = publisher.post(PUBLISH, {**data, "confirmed": "1"})
    assert response.status_code == 302
    assert json.loads(hookbox.published[0][1]) == payload


@pytest.mark.parametrize("name", ["<b>&\"'", "💬" * 255, "/ünïcode/%2F", " /x/ "])
def test_odd_names(publisher: Client, db: None, hookbox: Hookbox, name: str) -> None:
    ChannelPolicy.objects.create(name="All", pattern="<path:rest>", subscribe_audience="everyone")
    hookbox.live = {name: 3}
    page = publisher.get(PUBLISH, {"channel": name}).content.decode()
    assert "3 connections will receive it." in page
    assert "<b>&" not in page
    response = publisher.post(PUBLISH, {"channel": name, "payload": "1"}, follow=True)
    assert hookbox.published == [(name, "1")]
    assert "<b>&" not in response.content.decode()


# ---- asking first ----------------------------------------------------------------------------


def test_more_than_so_many_are_asked_for(
    publisher: Client, rows: Any, hookbox: Hookbox, settings: Any
) -> None:
    settings.HOOKBOX_CONFIRM_RECIPIENTS = 9
    hookbox.live = {"/front/": 10}
    data = {"channel": "/front/", "payload": '"Hel\'lo <b>"', "token": "t"}
    question = publisher.post(PUBLISH, data)
    html = question.content.decode()
    assert "Publish to 10 connections?" in html
    assert "/front/: 10" in html
    assert "&quot;Hel&#x27;lo &lt;b&gt;&quot;</pre>" in html, "what would be published"
    assert 'enctype="multipart/form-data"' in html
    hidden = dict(question.context["hidden"])
    assert hidden == data | {"confirmed": "1"}
    assert not hookbox.published
    publisher.post(PUBLISH, hidden)
    assert hookbox.published == [("/front/", '"Hel\'lo <b>"')]
    hookbox.live = {"/front/": 9}
    publisher.post(PUBLISH, {"channel": "/front/", "payload": "9"})
    assert len(hookbox.published) == 2


def test_the_question_shows_the_beginning_of_a_long_message(
    publisher: Client, rows: Any, hookbox: Hookbox, settings: Any
) -> None:
    settings.HOOKBOX_CONFIRM_RECIPIENTS = 9
    hookbox.live = {"/front/": 10}
    payload = json.dumps({"text": "x" * 100_000})
    question = publisher.post(PUBLISH, {"channel": "/front/", "payload": payload})
    shown = question.context["quoted"]
    assert shown.startswith('{\n  "text": "xxx')
    assert shown.endswith("x…")
    assert len(shown) < 2100
    assert dict(question.context["hidden"])["payload"] == payload, "the whole message is sent"


def test_the_second_press_sends_nothing(publisher: Client, rows: Any, hookbox: Hookbox) -> None:
    token = token_of(publisher.get(PUBLISH))
    data = {"channel": "/front/", "payload": "1", "token": token}
    publisher.post(PUBLISH, data)
    again = publisher.post(PUBLISH, data, follow=True)
    assert "This message has already been published. It was not sent again." in messages_of(again)
    assert len(hookbox.published) == 1
    assert token_of(publisher.get(PUBLISH)) != token
    # Two people may have the same token, if somebody makes one up.
    other = signed_in(person("other", "publish_message"))
    other.post(PUBLISH, data)
    assert len(hookbox.published) == 2


def test_what_failed_can_be_sent_by_the_same_form(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    hookbox.running = False
    data = {"channel": "/front/", "payload": "1", "token": "t"}
    response = publisher.post(PUBLISH, data)
    assert response.status_code == 200
    page = response.content.decode()
    assert "The Hookbox process cannot be reached." in page
    assert "The number of recipients is not known." not in page
    assert token_of(response) == "t"
    assert Publication.objects.latest("pk").status == "failed"
    hookbox.running = True
    assert publisher.post(PUBLISH, data).status_code == 302


def test_without_a_cache_it_still_publishes(
    publisher: Client, rows: Any, hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> bool:
        raise ConnectionError

    monkeypatch.setattr(cache, "add", broken, raising=False)
    publisher.post(PUBLISH, {"channel": "/front/", "payload": "1", "token": "t"})
    assert len(hookbox.published) == 1


# ---- bad days --------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?channel=/front/", "?channel=/a/&channel=/b/", "?policy=1"])
def test_pages_do_without_the_process(
    root: Client, rows: Any, hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    hookbox.running = False
    assert root.get(f"{PUBLISH}{query}").status_code == 200

    def refused(*args: Any, **form: Any) -> Any:
        raise HookboxMisconfigured("The Hookbox process does not accept the secret.", code="secret")

    monkeypatch.setattr(rest, "rest_call", refused)
    assert root.get(f"{PUBLISH}{query}").status_code == 200
    response = root.post(PUBLISH, {"channel": "/front/", "payload": "1"})
    assert "does not accept the secret" in response.content.decode()
    # Another program, which answers what nobody has asked for.
    monkeypatch.setattr(rest, "rest_call", lambda *args, **form: {"channels": {"a": 1}})
    assert root.get(f"{PUBLISH}{query}").status_code == 200
    assert root.get(f"{PUBLISH}channels/?q=/").json() == {"names": []}


def test_who_may_not_see_the_history_stays_on_the_page(rows: Any, hookbox: Hookbox) -> None:
    speaker = signed_in(person("speaker", "publish_message"))
    page = speaker.get(PUBLISH).content.decode()
    assert f'href="{APP}publication/"' not in page
    response = speaker.post(PUBLISH, {"channel": "/front/", "payload": "1"})
    assert response["Location"] == f"{PUBLISH}?channel=%2Ffront%2F"


def test_the_form_needs_the_csrf_token(rows: Any, hookbox: Hookbox) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("careful", "publish_message"))
    assert client.post(PUBLISH, {"channel": "/front/", "payload": "1"}).status_code == 403
    assert not hookbox.published


# ---- what the script asks --------------------------------------------------------------------


def test_channels_are_completed(publisher: Client, rows: Any, hookbox: Hookbox) -> None:
    hookbox.live = {"/news/a/": 1, "/news/b/": 5, "/front/": 2, "djhookbox:server": 1}
    assert publisher.get(f"{PUBLISH}channels/", {"q": "d"}).json() == {"names": []}
    found = publisher.get(f"{PUBLISH}channels/", {"q": "/news"}).json()
    assert found == {"names": ["/news/b/", "/news/a/"]}
    hookbox.running = False
    assert publisher.get(f"{PUBLISH}channels/", {"q": "/news"}).json() == {"names": []}


def test_the_audience_is_told(
    publisher: Client, rows: Any, hookbox: Hookbox, django_assert_num_queries: Any
) -> None:
    hookbox.live = {"/front/": 1}
    ChannelPolicy.objects.create(name="Ask", pattern="/ask/", create_audience="handlers")

    def answer(channel: str) -> list[str]:
        return list(publisher.get(f"{PUBLISH}audience/", {"channel": channel}).json().values())

    publisher.get(PUBLISH)
    assert answer("/front/") == [
        "1 connection will receive it.", "Policy “Front” decides for this channel.",
    ]  # fmt: skip
    assert answer("/ask/")[1] == "Policy “Ask” leaves the decision to handlers."
    assert answer("/none/")[1].startswith("No policy matches")
    assert answer("djhookbox:server")[1] == "This name is reserved; the message is refused."
    assert answer("") == ["", ""]
    with django_assert_num_queries(5):  # session, user, permissions, policies
        answer("/front/")
    hookbox.running = False
    assert answer("/front/")[0] == "The Hookbox process cannot be reached."


# ---- several ---------------------------------------------------------------------------------


def test_one_message_to_several_channels(publisher: Client, rows: Any, hookbox: Hookbox) -> None:
    hookbox.live = {"/front/": 40, "/news/a/": 70}
    page = publisher.get(f"{PUBLISH}?channel=/front/&channel=/news/a/&channel=/front/")
    html = page.content.decode()
    assert "To 2 channels" in html
    assert "110 connections will receive it." in html
    names = [value for name, value in page.context["hidden"] if name == "channel"]
    assert names == ["/front/", "/news/a/"]
    data = {"channel": names, "payload": '"x"', "token": "t"}
    question = publisher.post(PUBLISH, data)
    assert "Publish to 110 connections?" in question.content.decode()
    response = publisher.post(PUBLISH, {**data, "confirmed": "1"}, follow=True)
    assert hookbox.published == [("/front/", '"x"'), ("/news/a/", '"x"')]
    assert messages_of(response) == ["Published to 2 channels. It reached 4 connections."]
    assert LogEntry.objects.count() == 2


def test_some_refused(publisher: Client, rows: Any, hookbox: Hookbox) -> None:
    names = [f"/no/{number}/" for number in range(12)]
    data = {"channel": [*names, "/front/"], "payload": "1"}
    response = publisher.post(PUBLISH, data, follow=True)
    said = messages_of(response)
    assert said[0] == "Published to 1 channel. It reached 2 connections."
    assert len(said) == 12
    assert said[1].startswith("/no/0/: refused.")
    assert said[-1] == "2 more were refused."
    response = publisher.post(PUBLISH, {"channel": names, "payload": "1"})
    assert "The message was not published." in response.content.decode()


def test_the_rest_is_not_tried_once_the_process_is_gone(
    publisher: Client, rows: Any, hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = hookbox.__call__

    def once(
        call: str, seconds: float | None = None, base: str | None = None, /, **form: Any
    ) -> Any:
        result = answer(call, **form)
        hookbox.running = call != "publish"
        return result

    monkeypatch.setattr(rest, "rest_call", once)
    data = {"channel": ["/front/", "/news/a/", "/news/b/"], "payload": "1"}
    said = messages_of(publisher.post(PUBLISH, data, follow=True))
    assert said[0].startswith("Published to 1 channel.")
    assert said[1].endswith("The remaining channels were not tried.")
    assert len(hookbox.published) == 2


@pytest.mark.parametrize("names", [["/a/", "x" * 300], [f"/{n}/" for n in range(101)]])
def test_several_that_cannot_be(
    publisher: Client, rows: Any, hookbox: Hookbox, names: list[str]
) -> None:
    response = publisher.post(PUBLISH, {"channel": names, "payload": "1"})
    assert response.status_code == 200
    assert "The message was not published." in response.content.decode()
    assert not hookbox.published


# ---- policies --------------------------------------------------------------------------------


def test_the_live_channels_of_policies(root: Client, rows: Any, hookbox: Hookbox) -> None:
    news = rows["channelpolicy"]
    ChannelPolicy.objects.create(name="First", pattern="/news/first/", order=1)
    front = ChannelPolicy.objects.get(name="Front")
    hookbox.live = {"/news/first/": 9, "/news/a/": 2, "/news/b/": 3, "/elsewhere/": 1}
    data = {"action": "publish_to_channels", "_selected_action": [news.pk, front.pk]}
    response = root.post(f"{APP}channelpolicy/", data)
    assert response["Location"] == f"{PUBLISH}?policy={news.pk}&policy={front.pk}"
    page = root.get(response["Location"])
    shown = [(target.name, target.connections) for target in page.context["targets"]]
    assert shown == [("/news/b/", 3), ("/news/a/", 2), ("/front/", 0)]
    one = root.get(f"{PUBLISH}?policy={front.pk}")
    assert 'value="/front/"' in one.content.decode()


def test_policies_without_live_channels(root: Client, rows: Any, hookbox: Hookbox) -> None:
    news = rows["channelpolicy"]
    response = root.get(f"{PUBLISH}?policy={news.pk}")
    assert messages_of(response) == ["This policy does not currently cover any live channel."]
    ChannelPolicy.objects.update(enabled=False)
    response = root.get(f"{PUBLISH}?policy={news.pk}&policy=x&policy=99999999999999999999")
    assert messages_of(response) == ["This policy does not currently cover any live channel."]


def test_more_live_channels_than_are_listed(root: Client, rows: Any, hookbox: Hookbox) -> None:
    hookbox.live = {f"/news/{n}/": n for n in range(150)}
    response = root.get(f"{PUBLISH}?policy={rows['channelpolicy'].pk}")
    assert "There may be 150 such channels." in messages_of(response)[0]
    assert len(response.context["targets"]) == 100
