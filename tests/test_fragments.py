"""`publish_template`: what it renders, and what it refuses to send to everyone."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.template import TemplateDoesNotExist
from django.test import RequestFactory, override_settings

import djhookbox
from djhookbox.exceptions import HookboxRefused, HookboxSynchronousOnly
from djhookbox.models import ChannelPolicy
from djhookbox.testing import capture_publications

TEMPLATES = {
    "item.html": "<li>{{ text }}</li>",
    "path.html": "{{ request.path }}",
    "form.html": "<form>{% csrf_token %}</form>",
    "value.html": "{{ csrf_token }}",
}
PROCESSORS = ["django.template.context_processors.request"]
ENGINE = {
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "OPTIONS": {
        "loaders": [("django.template.loaders.locmem.Loader", TEMPLATES)],
        "context_processors": PROCESSORS,
    },
}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def templates():
    ChannelPolicy.objects.create(name="Open", pattern="/open/<slug:name>/")
    with override_settings(TEMPLATES=[ENGINE]):
        yield


def published(*arguments, **options):
    with capture_publications() as publications:
        djhookbox.publish_template("/open/a/", *arguments, **options)
    (publication,) = publications
    return publication


def test_it_is_escaped_and_from_nobody():
    publication = published("item.html", {"text": "<script>"})
    assert publication.payload == {"html": "<li>&lt;script&gt;</li>"}
    assert json.dumps(publication.payload)
    assert not publication.user


def test_the_context_may_be_absent_and_a_request_be_given():
    assert published("item.html").payload == {"html": "<li></li>"}
    request = RequestFactory().get("/here/")
    assert published("path.html", {}, request).payload == {"html": "/here/"}


@pytest.mark.parametrize("name", ["form.html", "value.html"])
@pytest.mark.parametrize("with_request", [True, False])
def test_the_token_of_one_user_is_not_sent_to_all(name, with_request):
    request = RequestFactory().get("/") if with_request else None
    with capture_publications() as publications:
        with pytest.raises(ValueError, match="CSRF token"):
            djhookbox.publish_template("/open/a/", name, {}, request)
        assert list(publications) == []


def test_what_goes_wrong():
    with pytest.raises(TemplateDoesNotExist):
        djhookbox.publish_template("/open/a/", "missing.html", {})
    with pytest.raises(HookboxRefused):
        djhookbox.publish_template("/closed/a/", "item.html", {})


def test_asynchronous_code():
    async def view():
        djhookbox.publish_template("/open/a/", "item.html", {})

    with pytest.raises(HookboxSynchronousOnly, match="sync_to_async"):
        asyncio.run(view())
