"""Channel policies in the admin: the list, the form, and the messages after a change."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connections
from django.db.models import JSONField, Value
from django.test import Client

from djhookbox.admin.policies import texts
from djhookbox.client import calls as rest
from djhookbox.exceptions import HookboxMisconfigured, HookboxRefused, HookboxUnreachable
from djhookbox.models import ChannelPolicy
from djhookbox.notices import silence

from .stand_in import APP, Hookbox, messages_of, person, signed_in

LIST = f"{APP}channelpolicy/"


def form_of(policy: ChannelPolicy | None = None, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": "Chat", "pattern": "/chat/<int:room>/", "order": "5", "enabled": "on",
        "create_audience": "everyone", "subscribe_audience": "signed_in",
        "publish_audience": "signed_in", "permission": "", "history_size": "20",
        "history_duration": "300", "state": "{}", "polling": "{}", "server_user_presence": "[]",
        "note": "",
    }  # fmt: skip
    return data | changes


# ---- saving ----------------------------------------------------------------------------------


def test_a_policy_is_added(root: Client, hookbox: Hookbox, db: None) -> None:
    group = Group.objects.create(name="editors")
    data = form_of(
        publish_audience="groups", groups=[group.pk], state='{"topic": null}', presenceful="on"
    )
    response = root.post(f"{LIST}add/", data, follow=True)
    policy = ChannelPolicy.objects.get()
    assert policy.state == {"topic": None}
    assert list(policy.groups.all()) == [group]
    assert "Hookbox will be notified shortly; live channels then follow." in messages_of(response)
    page = response.content.decode()
    assert "editors" in page
    assert "20 past messages, presence" in page


def test_the_list_names_every_option_that_differs_from_its_default(root: Client) -> None:
    changed: dict[str, Any] = {
        "history_size": 5, "durable": True, "presenceful": True, "anonymous": True,
        "reflective": False, "state": {"a": 1}, "server_presenceful": True,
        "polling": {"mode": "simple", "url": "http://example.com/", "interval": 5},
    }  # fmt: skip
    for number, (name, value) in enumerate(changed.items()):
        ChannelPolicy.objects.create(name=name, pattern=f"/{number}/", **{name: value})
    page = root.get(LIST).content.decode()
    shown = re.findall(r'hookbox-options">([^<]*)</div>', page)
    assert sorted(shown) == [
        "5 past messages", "anonymous", "durable", "initial state", "not reflective", "polling",
        "presence", "server presence",
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_save_says_how_many_it_concerns(
    hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = signed_in(User.objects.create_superuser("root", password="x"))
    response = root.post(f"{LIST}add/", form_of(), follow=True)
    assert messages_of(response)[-1] == (
        "The change takes effect immediately, also for 1 live channel with 4 connections."
    )
    policy = ChannelPolicy.objects.get()

    def after(answer: Any) -> str:
        def call(
            name: str, seconds: float | None = None, base: str | None = None, /, **form: Any
        ) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(rest, "rest_call", call)
        page = root.post(f"{LIST}{policy.pk}/change/", form_of(), follow=True)
        return messages_of(page)[-1]

    assert after({"channels": 0, "subscriptions": 0, "connections": 0}) == (
        "The change takes effect immediately; no live channel is affected."
    )
    # An older process does not count connections.
    assert (
        after({"channels": 2}) == "The change takes effect immediately, also for 2 live channels."
    )
    assert after(HookboxRefused("No such call.")) == (
        "Hookbox could not be notified, so live channels are unchanged: No such call."
    )
    assert after(HookboxMisconfigured("Another secret.")) == (
        "Hookbox could not be notified. Live channels follow within seconds if it reaches this "
        "site. Another secret."
    )
    hanging = "Live channels follow as soon as Hookbox answers. No answer."
    assert after(HookboxUnreachable("No answer.")) == hanging
    assert after({"channels": 2}) == hanging, "it is left alone for some seconds"
    silence.end()
    monkeypatch.setattr(rest, "rest_call", hookbox)
    hookbox.running = False
    words = (
        "The change takes effect when Hookbox is running. The Hookbox process cannot be reached."
    )
    page = root.post(f"{LIST}{policy.pk}/change/", form_of(), follow=True)
    assert messages_of(page)[-1] == words
    for action in ("disable", "enable", "delete_selected"):
        data = {"action": action, "_selected_action": [policy.pk], "post": "yes"}
        assert words in messages_of(root.post(LIST, data, follow=True)), action
    ChannelPolicy.objects.create(name="Last", pattern="/last/")
    last = ChannelPolicy.objects.get()
    page = root.post(f"{LIST}{last.pk}/delete/", {"post": "yes"}, follow=True)
    assert words in messages_of(page)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "{'a': 1}"}, "double quotes, not single quotes"),
        ({"state": '{"a": NaN}'}, "NaN is not valid JSON"),
        ({"state": '{"a": 1e999}'}, "The number 1e999 is too large."),
        ({"state": '{"a": ' + "[" * 98 + "]" * 98 + "}"}, "nested too deeply"),
        ({"state": '{"a": "\\ud83d"}'}, "must not contain lone surrogates"),
        ({"polling": '{"interval": -1e400}'}, "The number -1e400 is too large."),
        ({"server_user_presence": '["a\\u0000"]'}, "list of names"),
        ({"pattern": "/a\u2028/"}, "control characters"),
        ({"state": "[1]"}, "must be a JSON object"),
        ({"state": "hello"}, "Strings need double quotes: &quot;hello&quot;"),
        ({"server_user_presence": '{"a": 1}'}, "list of names"),
        ({"pattern": "/chat/<int:room/"}, "errorlist"),
        ({"subscribe_audience": "named_user"}, "write &lt;username&gt;"),
    ],
)
def test_mistakes_are_said_plainly(
    root: Client, db: None, changes: dict[str, str], words: str
) -> None:
    response = root.post(f"{LIST}add/", form_of(**changes))
    assert response.status_code == 200
    assert words in response.content.decode()
    assert not ChannelPolicy.objects.exists()


def test_the_example_in_the_help_text_keeps_its_angle_brackets(root: Client, db: None) -> None:
    assert "/rooms/&lt;int:room&gt;/" in root.get(f"{LIST}add/").content.decode()


def test_a_policy_that_never_decides_is_warned_of(root: Client, rows: Any) -> None:
    same = form_of(pattern="/front/", order="90")
    response = root.post(f"{LIST}add/", same, follow=True)
    assert "This policy never decides, because “Front” is tried first." in messages_of(response)
    html = response.content.decode()
    assert "never decides</span> after “Front”" in html, "the list says so, too"
    wide = form_of(name="Wide", pattern="/<path:rest>", order="1")
    response = root.post(f"{LIST}add/", wide, follow=True)
    said = messages_of(response)
    assert "Because of this policy, “News”, “Front”, “Chat” never decide." in said
    ChannelPolicy.objects.filter(name="Wide").update(enabled=False)
    assert "after “Wide”" not in root.get(LIST).content.decode()


def test_a_policy_that_opens_a_channel_to_everyone_is_warned_of(root: Client, rows: Any) -> None:
    data = form_of(subscribe_audience="everyone", publish_audience="everyone")
    said = messages_of(root.post(f"{LIST}add/", data, follow=True))
    assert "Everyone may read these channels, including anonymous visitors." in said
    assert "Everyone may publish to these channels, including anonymous visitors." in said
    data = {**data, "name": "Off", "enabled": ""}
    del data["enabled"]
    said = messages_of(root.post(f"{LIST}add/", data, follow=True))
    assert not any("Everyone" in text for text in said)


def test_a_new_policy_comes_last(root: Client, rows: Any) -> None:
    page = root.get(f"{LIST}add/?pattern=/from/elsewhere/")
    initial = page.context["adminform"].form.initial
    assert (initial["order"], initial["pattern"]) == (30, "/from/elsewhere/")
    ChannelPolicy.objects.all().delete()
    assert root.get(f"{LIST}add/").context["adminform"].form.initial["order"] == 10


@pytest.mark.parametrize("state", ['{"a": "\\u0000"}', '{"\\u0000": 1}'])
def test_what_not_every_database_keeps_is_refused(root: Client, db: None, state: str) -> None:
    page = root.post(f"{LIST}add/", form_of(state=state))
    assert page.context["adminform"].errors == {"state": ["This must not contain null characters."]}


@pytest.mark.parametrize("polling", [[], None, "x", 0])
def test_polling_that_was_written_past_the_form_stops_nothing(
    root: Client, rows: Any, polling: Any
) -> None:
    odd = ChannelPolicy.objects.create(name="Odd", pattern="/odd/", polling=Value(
        polling, JSONField()))  # fmt: skip
    for page in ("", f"{odd.pk}/change/", "try/?channel=/front/", "try/?channel=/odd/"):
        assert root.get(f"{LIST}{page}").status_code == 200, page


@pytest.mark.django_db(transaction=True)
def test_each_change_says_it_under_atomic_requests_too(
    hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    root = signed_in(User.objects.create_superuser("root", password="x"))
    ChannelPolicy.objects.create(name="Other", pattern="/other/", order=3)

    def said(page: str, **data: Any) -> None:
        told = messages_of(root.post(f"{LIST}{page}", data, follow=True))
        assert (
            "The change takes effect immediately, also for 1 live channel with 4 "
            "connections." in told
        ), page

    said("add/", **form_of())
    pk = ChannelPolicy.objects.get(name="Chat").pk
    said(f"{pk}/change/", **form_of())
    for action in ("disable", "enable"):
        said("", action=action, _selected_action=[pk])
    said("move/", move=f"{pk}:up")
    text = json.dumps([{"model": "djhookbox.channelpolicy",
                        "fields": {"name": "New", "pattern": "/new/"}}])  # fmt: skip
    seen = root.post(f"{LIST}import/", {"text": text}).context["digest"]
    said("import/", text=text, seen=seen)
    said("", action="delete_selected", _selected_action=[pk], post="yes")
    said(f"{ChannelPolicy.objects.get(name='New').pk}/delete/", post="yes")


def test_a_second_press_changes_nothing_and_says_nothing_of_channels(
    root: Client, rows: Any
) -> None:
    pk = rows["channelpolicy"].pk
    for action, said in (
        ("enable", "1 policy was already enabled."),
        ("disable", "1 policy disabled."),
        ("disable", "1 policy was already disabled."),
    ):
        data = {"action": action, "_selected_action": [pk]}
        told = messages_of(root.post(LIST, data, follow=True))
        assert told[0] == said
        assert len(told) == (1 if "already" in said else 2), told


# ---- actions ---------------------------------------------------------------------------------


def test_enabling_and_disabling_leaves_a_line_for_each(root: Client, rows: Any) -> None:
    everything = [policy.pk for policy in ChannelPolicy.objects.all()]
    data = {"action": "disable", "_selected_action": everything}
    response = root.post(LIST, data, follow=True)
    assert "2 policies disabled." in messages_of(response)
    assert not ChannelPolicy.objects.enabled().exists()
    assert LogEntry.objects.count() == 2
    data = {"action": "enable", "_selected_action": everything[:1]}
    response = root.post(LIST, data, follow=True)
    assert "1 policy enabled." in messages_of(response)
    assert LogEntry.objects.count() == 3
    assert "Enabled" in LogEntry.objects.latest("pk").get_change_message()


def test_those_that_were_enabled_already_are_counted_apart(root: Client, rows: Any) -> None:
    rows["channelpolicy"].enabled = False
    rows["channelpolicy"].save()
    everything = [policy.pk for policy in ChannelPolicy.objects.all()]
    for action, said in (
        ("enable", ["1 policy enabled.", "1 policy was already enabled."]),
        ("enable", ["2 policies were already enabled."]),
        ("disable", ["2 policies disabled."]),
        ("disable", ["2 policies were already disabled."]),
    ):
        data = {"action": action, "_selected_action": everything}
        told = messages_of(root.post(LIST, data, follow=True))
        assert [text for text in told if "abled." in text and "polic" in text] == said


def test_a_list_that_is_filtered_by_what_changes_is_counted_right(root: Client, rows: Any) -> None:
    everything = [policy.pk for policy in ChannelPolicy.objects.all()]
    data = {"action": "disable", "_selected_action": everything}
    told = messages_of(root.post(f"{LIST}?enabled__exact=1", data, follow=True))
    assert [text for text in told if "abled." in text and "polic" in text] == [
        "2 policies disabled."
    ]


def test_a_new_policy_begins_with_its_name(root: Client, rows: Any) -> None:
    """Django focuses the first control that is shown."""
    controls = r'<(?:input|select|textarea|button)\b(?![^>]*type="hidden")[^>]*name="([^"]*)"'
    form = root.get(f"{LIST}add/").content.decode().partition('id="channelpolicy_form"')[2]
    assert re.findall(controls, form)[0] == "name"
    url = f"{LIST}{rows['channelpolicy'].pk}/change/"
    form = root.get(url).content.decode().partition('id="channelpolicy_form"')[2]
    assert re.findall(controls, form)[0] == "_save", "a change can be saved at the top"


def test_a_duplicate_is_complete_and_off(root: Client, rows: Any) -> None:
    policy = rows["channelpolicy"]
    policy.groups.add(Group.objects.create(name="editors"))
    data = {"action": "duplicate", "_selected_action": [policy.pk]}
    for name in ("News (copy)", "News (copy 2)"):
        response = root.post(LIST, data)
        copy = ChannelPolicy.objects.get(name=name)
        assert response["Location"] == f"{LIST}{copy.pk}/change/"
        assert not copy.enabled
        assert copy.pattern == policy.pattern
        assert [group.name for group in copy.groups.all()] == ["editors"]
    policy.refresh_from_db()
    assert policy.enabled


@pytest.mark.parametrize("query", ["history=yes", "history=no", "enabled__exact=1", "q=News"])
def test_policies_are_filtered(root: Client, rows: Any, query: str) -> None:
    expected = {"history=yes": 1, "history=no": 1, "enabled__exact=1": 2, "q=News": 1}[query]
    assert root.get(f"{LIST}?{query}").context["cl"].result_count == expected


# ---- the form --------------------------------------------------------------------------------


def test_examples_and_explanation(root: Client, rows: Any, django_assert_num_queries: Any) -> None:
    page = root.get(f"{LIST}{rows['channelpolicy'].pk}/change/").content.decode()
    assert '<code dir="ltr">/news/today/</code>' in page
    assert "Signed-in users may subscribe to /news/today/." in page
    assert "Staff may publish to /news/today/." in page
    assert f'href="{LIST}try/?channel=%2Fnews%2Ftoday%2F"' in page
    assert f'href="{APP}publishing/?policy={rows["channelpolicy"].pk}"' in page
    new = root.get(f"{LIST}add/").content.decode()
    assert "Enter a pattern to see examples." in new
    mistaken = root.post(f"{LIST}add/", form_of(name="", pattern="/x/<int:y>/")).content.decode()
    assert '<code dir="ltr">/x/1/</code>' in mistaken


def test_patterns_run_from_left_to_right_everywhere(root: Client, rows: Any, settings: Any) -> None:
    settings.LANGUAGE_CODE = "ar"
    page = root.get(f"{LIST}{rows['channelpolicy'].pk}/change/").content.decode()
    assert re.search(r'<input[^>]*name="pattern"[^>]*dir="ltr"', page)
    page = root.get(LIST).content.decode()
    assert '<bdi dir="ltr">/front/</bdi>' in page
    assert '<bdi dir="ltr">/news<wbr>/&lt;slug:topic&gt;/</bdi>' in page


def preview(client: Client, **typed: str) -> dict[str, Any]:
    response = client.get(f"{LIST}preview/", typed)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def test_the_preview_follows_what_is_typed(
    viewer: Client, rows: Any, django_assert_num_queries: Any
) -> None:
    answer = preview(viewer, pattern="/rooms/<int:room>/", order="5", enabled="on")
    assert answer["examples"] == ["/rooms/1/", "/rooms/42/", "/rooms/2026/"]
    assert answer["problem"] == ""
    assert answer["warnings"] == []
    with django_assert_num_queries(6):
        answer = preview(viewer, pattern="/front/", order="25", enabled="on", pk="")
    assert answer["warnings"] == ["This policy never decides, because “Front” is tried first."]
    front = ChannelPolicy.objects.get(name="Front")
    answer = preview(viewer, pattern="/<path:x>", order="1", enabled="on", pk=str(front.pk))
    assert answer["warnings"] == ["Because of this policy, “News” never decides."]
    answer = preview(viewer, pattern="/<int:x/")
    assert "counterpart" in answer["problem"]
    assert (answer["examples"], answer["explained"], answer["warnings"]) == ([], [], [])
    group = Group.objects.create(name="<b>editors</b>")
    answer = preview(
        viewer, pattern="/u/<username>/", groups=str(group.pk), subscribe_audience="groups",
        publish_audience="named_user", create_audience="handlers", history_size="3",
    )  # fmt: skip
    assert answer["explained"][:4] == [
        "This policy is disabled and skipped. If it were enabled:",
        "Members of <b>editors</b> may subscribe to /u/alice/.",
        "Only the user alice may publish to /u/alice/.",
        "Handlers decide who may create /u/alice/.",
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"subscribe_audience": "groups"},
            "Nobody may subscribe to /a/. (No group is selected.)",
        ),
        (
            {"publish_audience": "permission", "permission": "auth.add_user"},
            "Holders of the permission auth.add_user may publish to /a/.",
        ),
        (
            {"history_size": 1, "history_duration": 30},
            "New subscribers receive the last message. Past messages are kept for 30 seconds.",
        ),
        ({"durable": True}, "Messages are stored in the database in the transaction"),
        ({"presenceful": True}, "Subscribers see who is present."),
        ({"anonymous": True}, "Messages do not show who published them."),
        ({"reflective": False}, "Publishers do not receive their own messages."),
        ({"state": {"a": 1}}, "The channel starts with an initial state."),
        ({"polling": {"mode": "simple"}}, "The Hookbox process polls for messages."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_option_is_explained(fields: dict[str, Any], sentence: str) -> None:
    usual = texts.explained(ChannelPolicy(pattern="/a/", history_size=0), [])
    policy = ChannelPolicy(**{"pattern": "/a/", "history_size": 0, **fields})
    found = " ".join(texts.explained(policy, []))
    assert sentence in found
    assert sentence not in " ".join(usual)


@pytest.mark.parametrize(
    "typed",
    [
        {},
        {"order": "x", "history_size": "9" * 30, "pk": "x", "groups": "y"},
        {"order": "-5", "pk": "9" * 30, "groups": "9" * 30, "create_audience": "aliens"},
        {"pattern": "x" * 10_000, "name": "\0", "order": "²"},
    ],
)
def test_the_preview_takes_whatever_is_typed(viewer: Client, rows: Any, typed: Any) -> None:
    preview(viewer, **typed)


def test_who_may_preview(viewer: Client, staff: Client, stranger: Client, rows: Any) -> None:
    assert viewer.get(f"{LIST}preview/").status_code == 200
    adder = signed_in(person("adder", "add_channelpolicy"))
    assert adder.get(f"{LIST}preview/").status_code == 200
    assert staff.get(f"{LIST}preview/").status_code == 403
    assert stranger.get(f"{LIST}preview/").status_code == 302


# ---- the list --------------------------------------------------------------------------------


def test_the_last_row_says_what_comes_after_all(root: Client, rows: Any) -> None:
    page = root.get(LIST).content.decode()
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    assert table.count("<tr") == 3
    assert re.search(r'<tr class="hookbox-last"><td colspan="7">Where no policy matches', table)
    ChannelPolicy.objects.all().delete()
    assert "hookbox-last" not in root.get(LIST).content.decode()


def test_the_list_costs_the_same_for_many(
    root: Client, rows: Any, django_assert_max_num_queries: Any
) -> None:
    ChannelPolicy.objects.bulk_create(
        ChannelPolicy(name=f"P{n}", pattern=f"/p{n}/<path:rest>", order=n) for n in range(40)
    )
    with django_assert_max_num_queries(8):
        assert root.get(LIST).status_code == 200


# ---- the order -------------------------------------------------------------------------------


def names() -> list[str]:
    return list(ChannelPolicy.objects.values_list("name", flat=True))


def move(client: Client, policy: ChannelPolicy, where: str) -> Any:
    return client.post(f"{LIST}move/", {"move": f"{policy.pk}:{where}"})


@pytest.fixture
def four(db: None) -> dict[str, ChannelPolicy]:
    return {
        name: ChannelPolicy.objects.create(name=name, pattern=f"/{name}/", order=order)
        for name, order in (("a", -3), ("b", 7), ("c", 7), ("d", 100))
    }


def test_policies_are_moved_without_minding_gaps(
    root: Client, four: dict[str, ChannelPolicy], hookbox: Hookbox
) -> None:
    response = move(root, four["c"], "up")
    assert names() == ["a", "c", "b", "d"]
    assert [p.order for p in ChannelPolicy.objects.all()] == [10, 20, 30, 40]
    assert response["Location"] == f"{LIST}#hookbox-up-{four['c'].pk}"
    assert LogEntry.objects.get().get_change_message() == "Moved from position 3 to 2."
    move(root, four["a"], "down")
    assert names() == ["c", "a", "b", "d"]
    response = move(root, four["d"], f"before:{four['a'].pk}")
    assert names() == ["c", "d", "a", "b"]
    assert response["Location"] == f"{LIST}#hookbox-handle-{four['d'].pk}"
    move(root, four["c"], "before:")
    assert names() == ["d", "a", "b", "c"]
    said = messages_of(root.get(LIST))
    assert "“c” is now number 4 of 4." in said


def test_the_ends_hold(root: Client, four: dict[str, ChannelPolicy]) -> None:
    move(root, four["a"], "up")
    move(root, four["d"], "down")
    move(root, four["b"], f"before:{four['c'].pk}")
    assert names() == ["a", "b", "c", "d"]
    assert "“a” was not moved." in messages_of(root.get(LIST))
    assert not LogEntry.objects.exists()
    assert ChannelPolicy.objects.get(name="a").order == -3


@pytest.mark.parametrize("wrong", ["", "x:up", "0:up", "1:sideways", "1:before:x", "1:before:0"])
def test_moves_that_make_no_sense(root: Client, four: dict[str, ChannelPolicy], wrong: str) -> None:
    first = str(four["a"].pk)
    wrong = wrong.replace("1", first) if wrong.startswith("1") else wrong
    response = root.post(f"{LIST}move/", {"move": wrong}, follow=True)
    assert "The policies have changed in the meantime. Nothing was moved." in messages_of(response)
    assert names() == ["a", "b", "c", "d"]


@pytest.mark.django_db(transaction=True)
def test_only_the_channels_of_the_moved_one_are_asked_about(hookbox: Hookbox) -> None:
    root = signed_in(User.objects.create_superuser("root", password="x"))
    policies = [
        ChannelPolicy.objects.create(name=name, pattern=f"/{name}/", order=1) for name in "abc"
    ]
    hookbox.calls.clear()
    response = root.post(f"{LIST}move/", {"move": f"{policies[2].pk}:up"}, follow=True)
    [form] = [form for call, form in hookbox.calls if call == "revoke"]
    assert [each["patterns"] for each in json.loads(form["revocations"])] == [["/c/"]]
    assert messages_of(response) == [
        "“c” is now number 2 of 3.",
        "The change takes effect immediately, also for 1 live channel with 4 connections.",
    ]


def test_a_move_warns_of_what_it_hides(root: Client, rows: Any) -> None:
    wide = ChannelPolicy.objects.create(name="Wide", pattern="/<path:x>", order=99)
    move(root, wide, f"before:{rows['channelpolicy'].pk}")
    assert "Because of this policy, “News”, “Front” never decide." in messages_of(root.get(LIST))


def test_who_may_move(
    viewer: Client, staff: Client, stranger: Client, root: Client, rows: Any
) -> None:
    news = rows["channelpolicy"]
    for client in (viewer, staff):
        assert move(client, news, "down").status_code == 403
    assert move(stranger, news, "down").status_code == 302
    assert names() == ["News", "Front"]
    # Where a login leads back to, if the session had ended when a button was pressed.
    assert root.get(f"{LIST}move/")["Location"] == LIST
    assert root.put(f"{LIST}move/").status_code == 405
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(person("careful", "change_channelpolicy"))
    assert move(careful, news, "down").status_code == 403


def test_moving_is_offered_where_all_are_shown_in_order(
    root: Client, viewer: Client, rows: Any
) -> None:
    handle = f'id="hookbox-up-{rows["channelpolicy"].pk}"'
    assert handle in root.get(LIST).content.decode()
    for query in ("?o=2", "?q=News", "?enabled__exact=1"):
        assert handle not in root.get(f"{LIST}{query}").content.decode(), query
    assert handle not in viewer.get(LIST).content.decode()


# ---- deleting --------------------------------------------------------------------------------


def test_the_question_says_who_decides_then(root: Client, rows: Any) -> None:
    news = rows["channelpolicy"]

    def said() -> str:
        page = root.get(f"{LIST}{news.pk}/delete/")
        (sentence,) = page.context["aftermath"]
        assert sentence.split("“")[0] in page.content.decode()
        return str(sentence)

    assert said().startswith("No policy then covers the channels of “News”: registered handlers")
    ChannelPolicy.objects.create(name="Today", pattern="/news/today/", order=30)
    assert "then decided by “Today” where they match" in said()
    ChannelPolicy.objects.create(name="Rest", pattern="/<path:rest>", order=40)
    assert said() == "Access to the channels of “News” is then decided by “Today”, “Rest”."
    ChannelPolicy.objects.create(name="Early", pattern="/news/<path:rest>", order=1)
    assert said() == "“News” never decides: nothing changes for any channel."
    ChannelPolicy.objects.filter(pk=news.pk).update(enabled=False)
    assert said() == "“News” is disabled: nothing changes for any channel."


def test_the_question_about_several(root: Client, rows: Any) -> None:
    ChannelPolicy.objects.create(name="Rest", pattern="/<path:rest>", order=40)
    chosen = ChannelPolicy.objects.exclude(name="Front")
    data = {"action": "delete_selected", "_selected_action": [policy.pk for policy in chosen]}
    page = root.post(LIST, data)
    assert page.context["aftermath"] == [
        "No policy then covers the channels of “News”: registered handlers decide, and "
        "channels that no handler allows are refused.",
        "No policy then covers the channels of “Rest”: registered handlers decide, and "
        "channels that no handler allows are refused.",
    ]
    assert "hookbox-aftermath" in page.content.decode()
    response = root.post(LIST, {**data, "post": "yes"}, follow=True)
    assert names() == ["Front"]
    assert len(messages_of(response)) == 2


def test_the_question_about_many_sums_them_up(root: Client) -> None:
    for number in range(6):
        ChannelPolicy.objects.create(name=f"Off {number}", pattern="/off/", enabled=False)
        ChannelPolicy.objects.create(name=f"Alone {number}", pattern=f"/alone/{number}/")
        ChannelPolicy.objects.create(name=f"Part {number}", pattern=f"/part/{number}/<path:rest>")
        ChannelPolicy.objects.create(name=f"Under {number}", pattern=f"/rest/{number}/")
    chosen = [policy.pk for policy in ChannelPolicy.objects.all()]
    ChannelPolicy.objects.create(name="Partly", pattern="/part/<int:number>/more/", order=200)
    ChannelPolicy.objects.create(name="Rest", pattern="/rest/<path:rest>", order=200)
    page = root.post(LIST, {"action": "delete_selected", "_selected_action": chosen})
    refused = "registered handlers decide, and channels that no handler allows are refused."
    assert sorted(page.context["aftermath"]) == [
        "6 policies are disabled or never decide: nothing changes for any channel.",
        "Access to the channels of 6 policies is then decided by other policies where they "
        f"match. For the other channels {refused}",
        "Access to the channels of 6 policies is then decided by other policies.",
        f"No policy then covers the channels of 6 policies: {refused}",
    ]
