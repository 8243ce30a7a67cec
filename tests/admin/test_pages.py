"""Each page of the admin, fetched as users who may see it and as users who may not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client, override_settings
from django.urls import include, path

from djhookbox.admin import (
    ChannelPolicyAdmin,
    ConnectionLogAdmin,
    PublicationAdmin,
    PublishingAdmin,
    ServerAdmin,
    SubscriptionLogAdmin,
)
from djhookbox.admin.forms import PayloadForm
from djhookbox.models import (
    ChannelPolicy,
    ConnectionLog,
    Publication,
    Publishing,
    Server,
    SubscriptionLog,
)

from . import catalogue
from .catalogue import PAGES
from .stand_in import APP, Hookbox

MODELS = ("channelpolicy", "connectionlog", "subscriptionlog", "publication")
LOGS = MODELS[1:]

#: A second admin site, as projects have them.
other_site = admin.AdminSite(name="backoffice")
other_site.register(ChannelPolicy, ChannelPolicyAdmin)
other_site.register(ConnectionLog, ConnectionLogAdmin)
other_site.register(SubscriptionLog, SubscriptionLogAdmin)
other_site.register(Publication, PublicationAdmin)
other_site.register(Publishing, PublishingAdmin)
other_site.register(Server, ServerAdmin)
urlpatterns = [
    path("backoffice/", other_site.urls),
    path("hookbox/", include("djhookbox.urls")),
]


def pages(rows: dict[str, Any]) -> list[str]:
    found = [f"{APP}{model}/" for model in MODELS]
    found += [f"{APP}{model}/{rows[model].pk}/change/" for model in MODELS]
    found += [f"{APP}{model}/trail/?user=alice" for model in LOGS]
    return [*found, f"{APP}server/"]


# ---- who sees what ---------------------------------------------------------------------------


def test_superuser_and_viewers_see_each_page(root: Client, viewer: Client, rows: Any) -> None:
    for page in pages(rows):
        assert root.get(page).status_code == 200, page
        assert viewer.get(page).status_code == 200, page


def test_others_see_none(staff: Client, stranger: Client, rows: Any) -> None:
    pk = rows["publication"].pk
    more = [f"{APP}publishing/", f"{APP}publication/{pk}/publish-again/"]
    more += [f"{APP}server/{name}/" for name in ("start", "stop", "restart")]
    for page in pages(rows) + more:
        assert staff.get(page).status_code == 403, page
        assert staff.post(page).status_code == 403, page
        for client in (stranger, Client()):
            response = client.get(page)
            assert response.status_code == 302, page
            assert response.url.startswith("/admin/login/"), page  # type: ignore[attr-defined]
    assert "djhookbox" not in staff.get("/admin/").content.decode()


def test_viewers_are_offered_nothing_to_do(viewer: Client, rows: Any, hookbox: Hookbox) -> None:
    for model in MODELS:
        page = viewer.get(f"{APP}{model}/").content.decode()
        assert re.findall(r'<option value="(\w+)"', page.partition('name="action"')[2]) == (
            ["export_selected"] if model == "channelpolicy" else []
        )
        assert "/add/" not in page, model
        assert "publish/" not in page, model
        form = viewer.get(f"{APP}{model}/{rows[model].pk}/change/").content.decode()
        assert "_save" not in form, model
        assert "publish-again" not in form, model
    hookbox.running = False
    assert "/start/" not in viewer.get(f"{APP}server/").content.decode()
    for page in (
        "publishing/",
        "publication/publish/",
        "server/start/",
        "server/stop/",
        "server/restart/",
    ):
        assert viewer.post(f"{APP}{page}").status_code == 403, page


@pytest.mark.parametrize("name", sorted({url.partition("/")[0] for url, _ in PAGES.values()}))
def test_each_works_alone_on_an_admin_site(
    root: Client, populated: dict[str, Any], hookbox: Hookbox, settings: Any, name: str
) -> None:
    model = apps.get_model("djhookbox", name)
    lone = admin.AdminSite(name="lone")
    lone.register(model, type(admin.site._registry[model]))
    urls = [path("lone/", lone.urls), path("hookbox/", include("djhookbox.urls"))]
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": urls})
    for address in catalogue.pages(populated, "/lone/djhookbox/").values():
        if address.startswith(f"/lone/djhookbox/{name}/"):
            assert root.get(address, follow=True).status_code == 200, address
    if name == "publication":
        page = "/lone/djhookbox/publication/publish/"
        assert root.get(f"{page}?channel=/front/").status_code == 200
        assert root.post(page, {"channel": "/front/", "payload": "1"}).status_code == 302
        assert hookbox.published == [("/front/", "1")]
    if name == "channelpolicy":
        pk = populated[name].pk
        data = {"action": "publish_to_channels", "_selected_action": [pk]}
        assert root.post("/lone/djhookbox/channelpolicy/", data, follow=True).status_code == 200


@pytest.mark.parametrize("action", ["enable", "disable", "duplicate", "publish_to_channels"])
def test_viewers_cannot_act_by_forged_posts(viewer: Client, rows: Any, action: str) -> None:
    policy = rows["channelpolicy"]
    data = {"action": action, "_selected_action": [policy.pk], "confirmed": "1", "payload": "1"}
    viewer.post(f"{APP}channelpolicy/", data)
    policy.refresh_from_db()
    assert policy.enabled
    assert ChannelPolicy.objects.count() == 2
    assert not Publication.objects.filter(source="admin").exists()


def test_every_page_stays_within_a_strict_policy(root: Client, rows: Any) -> None:
    more = [f"{APP}publishing/", f"{APP}server/stop/", f"{APP}channelpolicy/add/"]
    for page in pages(rows) + more:
        html = root.get(page).content.decode()
        assert not re.search(r"<style[\s>]", html), page
        assert not re.search(r"\sstyle=", html), page
        assert not re.search(r"\son\w+=", html), page
        for script in re.findall(r"<script[^>]*>", html):
            assert "src=" in script or 'type="application/json"' in script, (page, script)


@override_settings(ROOT_URLCONF="tests.admin.test_pages")
def test_another_admin_site_works(root: Client, rows: Any, hookbox: Hookbox) -> None:
    pk = rows["publication"].pk
    more = [f"{APP}publishing/", f"{APP}publication/{pk}/publish-again/"]
    for page in pages(rows) + more + [f"{APP}server/stop/"]:
        page = page.replace("/admin/", "/backoffice/")
        response = root.get(page, follow=True)
        assert response.status_code == 200, page
        assert 'href="/admin/' not in response.content.decode(), page
    response = root.post(
        "/backoffice/djhookbox/publishing/", {"channel": "/front/", "payload": "1"}
    )
    assert response["Location"] == "/backoffice/djhookbox/publication/"


@pytest.mark.parametrize("language", ["ar", "de"])
def test_pages_in_other_languages(
    root: Client, rows: Any, settings: Any, language: str, hookbox: Hookbox
) -> None:
    settings.LANGUAGE_CODE = language
    for running in (True, False):
        hookbox.running = running
        for page in pages(rows):
            assert root.get(page).status_code == 200, page


# ---- lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_empty_lists_say_what_to_do(root: Client, model: str) -> None:
    page = root.get(f"{APP}{model}/").content.decode()
    assert "hookbox-empty" in page
    assert "Nothing matches" not in page


@pytest.mark.parametrize("model", MODELS)
def test_a_search_without_result_offers_to_clear_it(root: Client, rows: Any, model: str) -> None:
    page = root.get(f"{APP}{model}/?q=nobody").content.decode()
    assert "Nothing matches" in page


def test_links_filter_by_user_channel_connection_and_address(root: Client, rows: Any) -> None:
    ConnectionLog.objects.create(event="connect", user_name=" _anon&1", ip="10.0.0.4")
    SubscriptionLog.objects.create(event="subscribe", channel="/other/", connection_id="c" * 20)
    page = root.get(f"{APP}connectionlog/").content.decode()
    assert "?user_name=+_anon%261" in page
    one = root.get(f"{APP}connectionlog/?user_name=+_anon%261").context["cl"]
    assert one.result_count == 1
    assert root.get(f"{APP}connectionlog/?ip=10.0.0.4").context["cl"].result_count == 1
    assert root.get(f"{APP}subscriptionlog/?channel=/other/").context["cl"].result_count == 1
    by_connection = root.get(f"{APP}subscriptionlog/?connection_id={'c' * 20}")
    assert by_connection.context["cl"].result_count == 1


# ---- forms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, "null", {"a": [1, None]}])
def test_the_payload_field_takes_every_value(value: object) -> None:
    form = PayloadForm({"payload": json.dumps(value)})
    assert form.is_valid(), form.errors
    assert form.cleaned_data["payload"] == value
    shown = PayloadForm(initial={"payload": value})["payload"].value()
    assert json.loads(shown) == value


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "{", "[1e999, NaN]"])
def test_what_cannot_be_read_is_shown_again_as_it_was_typed(
    root: Client, rows: Any, hookbox: Hookbox, text: str
) -> None:
    for response in (
        root.post(f"{APP}publishing/", {"channel": "/front/", "payload": text}),
        root.get(f"{APP}channelpolicy/try/", {"channel": "/front/", "payload": text}),
    ):
        assert response.status_code == 200
        form = response.context["form"]
        assert form.errors["payload"]
        assert form["payload"].value() == text
    assert not hookbox.published


def test_an_empty_payload_is_missing_not_null() -> None:
    assert PayloadForm()["payload"].value() == ""
    assert not PayloadForm({"payload": "  "}).is_valid()
