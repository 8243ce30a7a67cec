"""Publishing from the admin: anew, again, to several channels."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from djhookbox.models import ChannelPolicy, Publication

from .stand_in import APP, Hookbox, messages_of, person, signed_in

PUBLISH = f"{APP}publication/publish/"


@pytest.fixture
def publisher(db: None) -> Client:
    """May publish, and see the history, nothing else."""
    return signed_in(person("publisher", "publish_message", "view_publication"))


def test_a_message_is_published_in_the_users_name(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    assert PUBLISH in publisher.get(f"{APP}publication/").content.decode()
    assert 'value="/front/"' in publisher.get(f"{PUBLISH}?channel=/front/").content.decode()
    data = {"channel": "/front/", "payload": '{"text": "Grüße"}'}
    response = publisher.post(PUBLISH, data, follow=True)
    assert messages_of(response) == ["Published to /front/; it reached 2 connections."]
    assert hookbox.published == [("/front/", '{"text": "Gr\\u00fc\\u00dfe"}')]
    row = Publication.objects.latest("pk")
    assert (row.source, row.status, row.user_name) == ("admin", "sent", "publisher")
    assert (row.payload, row.delivered) == ({"text": "Grüße"}, 2)
    assert "Grüße" in response.content.decode(), "the list shows how the message begins"


def test_nobody_there_is_no_failure(publisher: Client, rows: Any, hookbox: Hookbox) -> None:
    hookbox.delivered = 0
    response = publisher.post(PUBLISH, {"channel": "/front/", "payload": "null"}, follow=True)
    assert messages_of(response) == ["Published to /front/, where nobody is subscribed just now."]


@pytest.mark.parametrize(
    ("channel", "payload", "words"),
    [
        ("/front/", "{text: 1}", "This is not JSON: "),
        ("/front/", "hello", "A text needs double quotes: &quot;hello&quot;."),
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


def test_a_process_that_is_down_is_an_error_message_and_a_row(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    hookbox.running = False
    response = publisher.post(PUBLISH, {"channel": "/front/", "payload": "1"})
    assert response.status_code == 200
    assert "The Hookbox process cannot be reached." in response.content.decode()
    assert Publication.objects.latest("pk").status == "failed"


def test_who_may_publish_but_not_see_the_history_stays_on_the_form(rows: Any) -> None:
    speaker = signed_in(person("speaker", "publish_message"))
    assert speaker.get(PUBLISH).status_code == 200
    response = speaker.post(PUBLISH, {"channel": "/front/", "payload": "1"})
    assert response["Location"] == f"{PUBLISH}?channel=%2Ffront%2F"
    pk = rows["publication"].pk
    assert speaker.get(f"{APP}publication/{pk}/publish-again/").status_code == 403


def test_a_failed_publication_is_edited_and_sent_again(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    row = rows["publication"]
    again = f"{APP}publication/{row.pk}/publish-again/"
    change = publisher.get(f"{APP}publication/{row.pk}/change/").content.decode()
    assert again in change
    assert "Grüße &lt;b&gt;" in change, "the payload is readable, and no HTML"
    form = publisher.get(again).content.decode()
    assert 'value="/front/"' in form
    assert "Grüße &lt;b&gt;" in form
    response = publisher.post(again, {"channel": "/front/", "payload": '"corrected"'})
    assert response.status_code == 302
    assert hookbox.published == [("/front/", '"corrected"')]
    row.refresh_from_db()
    assert row.status == "failed", "what happened stays as it was"


def test_publishing_a_row_again_that_is_gone(publisher: Client, db: None) -> None:
    response = publisher.get(f"{APP}publication/99/publish-again/", follow=True)
    assert response.status_code == 200
    assert any("doesn’t exist" in text for text in messages_of(response))


def act(client: Client, model: str, action: str, rows: list[Any], **more: str) -> Any:
    data = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    return client.post(f"{APP}{model}/", data, follow=True)


def test_several_are_published_again_after_a_question(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    second = Publication.objects.create(
        channel="/front/", payload=[2], source="code", status="sent"
    )
    both = [second, rows["publication"]]
    question = act(publisher, "publication", "publish_again", both)
    assert "Publish 2 messages again?" in question.content.decode()
    assert not hookbox.published
    answer = act(publisher, "publication", "publish_again", both, confirmed="1")
    assert len(messages_of(answer)) == 2
    assert [payload for _channel, payload in hookbox.published] == [
        '{"text": "Gr\\u00fc\\u00dfe <b>"}',
        "[2]",
    ], "in the order of the first time"


def test_a_single_one_leads_to_the_form(publisher: Client, rows: Any) -> None:
    response = act(publisher, "publication", "publish_again", [rows["publication"]])
    assert response.redirect_chain[0][0].endswith("/publish-again/")


def test_what_fails_once_is_not_tried_for_the_rest(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    second = Publication.objects.create(channel="/front/", payload=2, source="code", status="sent")
    hookbox.running = False
    both = [second, rows["publication"]]
    response = act(publisher, "publication", "publish_again", both, confirmed="1")
    assert len(hookbox.published) == 1
    assert "What was left has not been tried." in messages_of(response)


def test_a_refused_one_does_not_stop_the_rest(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    refused = Publication.objects.create(channel="/no/", payload=0, source="code", status="sent")
    third = Publication.objects.create(channel="/front/", payload=3, source="code", status="sent")
    response = act(publisher, "publication", "publish_again", [refused, third], confirmed="1")
    assert hookbox.published == [("/front/", "3")]
    assert messages_of(response)[0].startswith("/no/: refused.")


def test_one_message_to_the_channels_of_policies(root: Client, rows: Any, hookbox: Hookbox) -> None:
    ChannelPolicy.objects.create(name="Back", pattern="/back/", order=30)
    policies = list(ChannelPolicy.objects.all())
    question = act(root, "channelpolicy", "publish_to_channels", policies)
    assert "Publish to 2 channels" in question.content.decode()
    assert any("stands for many channels" in text for text in messages_of(question))
    mistake = act(
        root, "channelpolicy", "publish_to_channels", policies, confirmed="1", payload="{"
    )
    assert "This is not JSON" in mistake.content.decode()
    assert not hookbox.published
    act(root, "channelpolicy", "publish_to_channels", policies, confirmed="1", payload='"x"')
    assert hookbox.published == [("/front/", '"x"'), ("/back/", '"x"')]


def test_policies_that_stand_for_many_channels_lead_nowhere(root: Client, rows: Any) -> None:
    response = act(root, "channelpolicy", "publish_to_channels", [rows["channelpolicy"]])
    assert response.redirect_chain
    assert any("stands for many channels" in text for text in messages_of(response))


def test_forms_need_the_csrf_token(rows: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("careful", "publish_message", "control_server"))
    assert client.post(PUBLISH, {"channel": "/front/", "payload": "1"}).status_code == 403
    for name in ("start", "stop", "restart"):
        assert client.post(f"{APP}server/{name}/").status_code == 403
