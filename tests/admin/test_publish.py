"""Publishing again from the admin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import DatabaseError
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


def test_lists_link_to_publishing_for_those_who_may(
    publisher: Client, root: Client, rows: Any
) -> None:
    pk, policy = rows["publication"].pk, rows["channelpolicy"].pk
    reader = signed_in(person("reader", "view_publication", "view_payload", "view_channelpolicy"))
    again = f'href="{APP}publication/{pk}/publish-again/"'
    assert again in publisher.get(f"{APP}publication/").content.decode()
    assert again not in reader.get(f"{APP}publication/").content.decode()
    for kept in ("masked", "nothing"):
        Publication.objects.filter(pk=pk).update(kept=kept)
        assert again not in publisher.get(f"{APP}publication/").content.decode(), kept
    link = f'href="{PUBLISH}?policy={policy}"'
    assert link in root.get(f"{APP}channelpolicy/").content.decode()
    assert link not in reader.get(f"{APP}channelpolicy/").content.decode()


def test_publishing_a_row_again_that_is_gone(publisher: Client, db: None) -> None:
    response = publisher.get(f"{APP}publication/99/publish-again/", follow=True)
    assert response.status_code == 200
    assert any("doesn’t exist" in text for text in messages_of(response))


def test_who_may_not_see_a_message_may_not_publish_it_again(rows: Any) -> None:
    speaker = signed_in(person("speaker", "publish_message"))
    pk = rows["publication"].pk
    assert speaker.get(f"{APP}publication/{pk}/publish-again/").status_code == 403


def test_many_are_asked_for_before_it_is_published_again(
    publisher: Client, rows: Any, hookbox: Hookbox, settings: Any
) -> None:
    settings.HOOKBOX_CONFIRM_RECIPIENTS = 9
    hookbox.live = {"/front/": 10}
    again = f"{APP}publication/{rows['publication'].pk}/publish-again/"
    page = publisher.get(again)
    assert "10 connections will receive it." in page.content.decode()
    data = {"channel": "/front/", "payload": "1", "token": "many"}
    question = publisher.post(again, data)
    assert "Publish to 10 connections?" in question.content.decode()
    assert not hookbox.published
    publisher.post(again, dict(question.context["hidden"]))
    assert hookbox.published == [("/front/", "1")]


def test_the_second_press_publishes_nothing_again(
    publisher: Client, rows: Any, hookbox: Hookbox
) -> None:
    row = rows["publication"]
    again = f"{APP}publication/{row.pk}/publish-again/"
    data = {"channel": "/front/", "payload": "1", **dict(publisher.get(again).context["hidden"])}
    for _press in range(2):
        response = publisher.post(again, data, follow=True)
    assert "It was not sent again." in messages_of(response)[0]
    assert len(hookbox.published) == 1
    second = Publication.objects.create(channel="/front/", payload=2, source="code", status="sent")
    question = act(publisher, "publication", "publish_again", [row, second])
    hidden = dict(question.context["hidden"])
    for _press in range(2):
        act(publisher, "publication", "publish_again", [row, second],
            confirmed="1", token=hidden["token"])  # fmt: skip
    assert len(hookbox.published) == 3


def test_what_was_sent_again_is_said_although_nothing_can_be_written(
    publisher: Client, rows: Any, hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise DatabaseError("read-only")

    row = rows["publication"]
    other = Publication.objects.create(channel="/front/", payload=2, source="code", status="sent")
    monkeypatch.setattr(LogEntry, "save", fail)
    page = f"{APP}publication/{row.pk}/publish-again/"
    one = publisher.post(page, {"channel": "/front/", "payload": "1"}, follow=True)
    several = act(publisher, "publication", "publish_again", [row, other], confirmed="1")
    for response, count in ((one, 1), (several, 2)):
        said = messages_of(response)
        assert said.count("Published to /front/; it reached 2 connections.") == count
        assert said.count("The database rejected the history entry.") == count
        assert len(said) == 2 * count
    assert len(hookbox.published) == 3


def test_a_megabyte_is_published_again(publisher: Client, rows: Any, hookbox: Hookbox) -> None:
    payload = [1] * 350_000
    row = Publication.objects.create(
        channel="/front/", payload=payload, source="code", status="sent"
    )
    again = f"{APP}publication/{row.pk}/publish-again/"
    page = publisher.get(again)
    # Each character may become three in the other encoding, more than Django takes.
    assert 'enctype="multipart/form-data"' in page.content.decode()
    text = page.context["form"]["payload"].value()
    data = {"channel": "/front/", "payload": text.replace("\n", "\r\n")}
    assert publisher.post(again, data).status_code == 302
    assert json.loads(hookbox.published[0][1]) == payload


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
        '{"text":"Gr\\u00fc\\u00dfe <b>"}',
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
    assert "The remaining messages were not tried." in messages_of(response)


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
