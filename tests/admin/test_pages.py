"""Each page of the admin, fetched as whoever may and may not see it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
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

from .stand_in import APP, Hookbox, messages_of

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
        assert 'name="action"' not in page, model
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


# ---- policies --------------------------------------------------------------------------------


def form_of(policy: ChannelPolicy | None = None, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": "Chat", "pattern": "/chat/<int:room>/", "order": "5", "enabled": "on",
        "create_audience": "everyone", "subscribe_audience": "signed_in",
        "publish_audience": "signed_in", "permission": "", "history_size": "20",
        "history_duration": "300", "state": "{}", "polling": "{}", "server_user_presence": "[]",
        "note": "",
    }  # fmt: skip
    return data | changes


def test_a_policy_is_added_and_hookbox_is_told(
    root: Client, hookbox: Hookbox, db: None, django_capture_on_commit_callbacks: Any
) -> None:
    group = Group.objects.create(name="editors")
    data = form_of(
        publish_audience="groups", groups=[group.pk], state='{"topic": null}', presenceful="on"
    )
    with django_capture_on_commit_callbacks(execute=True):
        response = root.post(f"{APP}channelpolicy/add/", data, follow=True)
    policy = ChannelPolicy.objects.get()
    assert policy.state == {"topic": None}
    assert list(policy.groups.all()) == [group]
    assert any("live channels follow" in text for text in messages_of(response))
    assert "recheck" in [call for call, _form in hookbox.calls]
    page = response.content.decode()
    assert "editors" in page
    assert "20 past messages, presence" in page


def test_the_save_says_that_hookbox_is_not_running(
    root: Client, hookbox: Hookbox, db: None
) -> None:
    hookbox.running = False
    response = root.post(f"{APP}channelpolicy/add/", form_of(), follow=True)
    assert any("not running" in text for text in messages_of(response))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "{'a': 1}"}, "double quotes, not single ones"),
        ({"state": '{"a": NaN}'}, "JSON has no NaN"),
        ({"state": "[1]"}, "must be a JSON object"),
        ({"state": "hello"}, "A text needs double quotes: &quot;hello&quot;"),
        ({"server_user_presence": '{"a": 1}'}, "list of names"),
        ({"pattern": "/chat/<int:room/"}, "errorlist"),
        ({"subscribe_audience": "named_user"}, "write &lt;username&gt;"),
    ],
)
def test_mistakes_are_said_plainly(
    root: Client, db: None, changes: dict[str, str], words: str
) -> None:
    response = root.post(f"{APP}channelpolicy/add/", form_of(**changes))
    assert response.status_code == 200
    assert words in response.content.decode()
    assert not ChannelPolicy.objects.exists()


def test_the_example_in_the_help_text_keeps_its_angle_brackets(root: Client, db: None) -> None:
    assert "/rooms/&lt;int:room&gt;/" in root.get(f"{APP}channelpolicy/add/").content.decode()


def test_a_policy_that_never_decides_is_warned_of(root: Client, rows: Any) -> None:
    same = form_of(pattern="/front/", order="90")
    response = root.post(f"{APP}channelpolicy/add/", same, follow=True)
    assert any("“Front” has the same pattern" in text for text in messages_of(response))


def test_enabling_and_disabling_leaves_a_line_for_each(root: Client, rows: Any) -> None:
    everything = [policy.pk for policy in ChannelPolicy.objects.all()]
    data = {"action": "disable", "_selected_action": everything}
    response = root.post(f"{APP}channelpolicy/", data, follow=True)
    assert "2 policies disabled." in messages_of(response)
    assert not ChannelPolicy.objects.enabled().exists()
    assert LogEntry.objects.count() == 2
    data = {"action": "enable", "_selected_action": everything[:1]}
    response = root.post(f"{APP}channelpolicy/", data, follow=True)
    assert "1 policy enabled." in messages_of(response)
    assert LogEntry.objects.count() == 3
    assert "Enabled" in LogEntry.objects.latest("pk").get_change_message()


def test_a_duplicate_is_complete_and_off(root: Client, rows: Any) -> None:
    policy = rows["channelpolicy"]
    policy.groups.add(Group.objects.create(name="editors"))
    data = {"action": "duplicate", "_selected_action": [policy.pk]}
    for name in ("News (copy)", "News (copy 2)"):
        response = root.post(f"{APP}channelpolicy/", data)
        copy = ChannelPolicy.objects.get(name=name)
        assert response["Location"] == f"{APP}channelpolicy/{copy.pk}/change/"
        assert not copy.enabled
        assert copy.pattern == policy.pattern
        assert [group.name for group in copy.groups.all()] == ["editors"]
    policy.refresh_from_db()
    assert policy.enabled


@pytest.mark.parametrize("query", ["history=yes", "history=no", "enabled__exact=1", "q=News"])
def test_policies_are_filtered(root: Client, rows: Any, query: str) -> None:
    expected = {"history=yes": 1, "history=no": 1, "enabled__exact=1": 2, "q=News": 1}[query]
    assert root.get(f"{APP}channelpolicy/?{query}").context["cl"].result_count == expected


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, "null", {"a": [1, None]}])
def test_the_payload_field_takes_every_value(value: object) -> None:
    form = PayloadForm({"payload": json.dumps(value)})
    assert form.is_valid(), form.errors
    assert form.cleaned_data["payload"] == value
    shown = PayloadForm(initial={"payload": value})["payload"].value()
    assert json.loads(shown) == value


def test_an_empty_payload_is_missing_not_null() -> None:
    assert PayloadForm()["payload"].value() == ""
    assert not PayloadForm({"payload": "  "}).is_valid()
