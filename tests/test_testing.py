from __future__ import annotations

import datetime

import pytest

import djhookbox
from djhookbox import client
from djhookbox.decisions.store import cache
from djhookbox.exceptions import HookboxRefused, HookboxUnreachable, PayloadError
from djhookbox.models import ChannelPolicy, Publication
from djhookbox.testing import capture_publications


@pytest.fixture(autouse=True)
def policy(db):
    cache.drop()
    ChannelPolicy.objects.create(name="news", pattern="/news/", history_size=3)
    yield
    cache.drop()


def test_publications_are_collected():
    with capture_publications() as sent:
        assert djhookbox.publish("/news/", {"day": datetime.date(2011, 5, 29)}, user="eve") == 1
        assert djhookbox.publish("/news/", 2) == 1
    first, second = sent
    assert (first.channel, first.payload, first.user) == ("/news/", {"day": "2011-05-29"}, "eve")
    assert first.options["history_size"] == 3
    assert (second.payload, second.user) == (2, "")
    assert Publication.objects.count() == 2


def test_delivered():
    with capture_publications(delivered=0):
        assert djhookbox.publish("/news/", 1) == 0


def test_what_would_be_refused_is_refused():
    with capture_publications() as sent:
        with pytest.raises(HookboxRefused):
            djhookbox.publish("/closed/", 1)
        with pytest.raises(PayloadError):
            djhookbox.publish("/news/", object())
    assert sent == []


def test_a_process_that_is_down():
    error = HookboxUnreachable("down")
    with capture_publications(error=error) as sent, pytest.raises(HookboxUnreachable) as caught:
        djhookbox.publish("/news/", 1)
    assert caught.value is error
    assert len(sent) == 1
    assert Publication.objects.get().status == "failed"


def test_afterwards_all_is_as_before():
    real = client.publish
    with capture_publications():
        assert client.publish is not real
    assert client.publish is real


@pytest.mark.django_db(transaction=True)
async def test_apublish():
    with capture_publications() as sent:
        assert await djhookbox.apublish("/news/", 1) == 1
    assert sent[0].channel == "/news/"


def test_cursors_are_empty_without_a_process(caplog):
    with capture_publications():
        assert djhookbox.cursor("/news/") == ""
    assert caplog.records == []
