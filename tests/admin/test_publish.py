"""Publishing again from the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from djhookbox.models import Publication

from .stand_in import APP, Hookbox, messages_of, person, signed_in

PUBLISH = f"{APP}publishing/"


@pytest.fixture
def publisher(db: None) -> Client:
    """May publish, and see the history with its payloads, nothing else."""
    return signed_in(person("publisher", "publish_message", "view_publication", "view_payload"))


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


def test_who_may_not_see_a_message_may_not_publish_it_again(rows: Any) -> None:
    speaker = signed_in(person("speaker", "publish_message"))
    pk = rows["publication"].pk
    assert speaker.get(f"{APP}publication/{pk}/publish-again/").status_code == 403


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


def test_forms_need_the_csrf_token(rows: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("careful", "publish_message", "control_server"))
    assert client.post(PUBLISH, {"channel": "/front/", "payload": "1"}).status_code == 403
    for name in ("start", "stop", "restart"):
        assert client.post(f"{APP}server/{name}/").status_code == 403
