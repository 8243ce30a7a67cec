"""The template tags: configuration, import map, nonce."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.staticfiles.management.commands.collectstatic import Command
from django.core.management import call_command
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory
from django.test.utils import override_settings
from django.utils.functional import SimpleLazyObject

from djhookbox.exceptions import ChannelNameError
from djhookbox.templatetags.djhookbox import SCRIPTS
from djhookbox.users.identity import read_anonymous_id

CLIENT = Path(__file__).resolve().parent.parent / "djhookbox" / "static" / "djhookbox"
CONFIG = re.compile(r'<script id="djhookbox-config" type="application/json">(.*?)</script>')
IMPORT_MAP = re.compile(r'<script type="importmap"([^>]*)>(.*?)</script>')


def render(user=None, arguments="", **context):
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    for name in [name for name in context if name == "request_nonce"]:
        request.csp_nonce = context.pop(name)
    template = Template("{% load djhookbox %}{% hookbox_script " + arguments + " %}")
    return template.render(Context({"request": request, **context}))


def config_of(html):
    return json.loads(CONFIG.search(html)[1])


def imports_of(html):
    return json.loads(IMPORT_MAP.search(html)[2])["imports"]


class LazyNonce(SimpleLazyObject):
    """A nonce like those of Django and django-csp: false until it has been used."""

    def __bool__(self):
        return False


def test_a_signed_in_user_connects_with_the_cookie():
    assert config_of(render(User(username="al</script>ice"))) == {
        "port": 8001,
        "user": "al</script>ice",
    }


def test_a_visitor_is_given_a_name_of_their_own():
    first, second = config_of(render()), config_of(render())
    assert set(first) == {"port", "token"}
    assert read_anonymous_id(first["token"]).startswith(" _")
    assert first["token"] != second["token"]


def test_without_a_request_the_page_is_a_visitors():
    html = Template("{% load djhookbox %}{% hookbox_script %}").render(Context())
    assert set(config_of(html)) == {"port", "token"}


def test_no_name_where_it_would_be_shared_or_is_of_no_use():
    assert config_of(render(arguments="anonymous_id=False")) == {"port": 8001}
    with override_settings(HOOKBOX_ANONYMOUS=False):
        assert config_of(render()) == {"port": 8001}


def test_only_a_site_with_debug_tells_where_refusals_are_put_right(settings):
    assert config_of(render()).keys().isdisjoint({"hint", "diagnosis"})
    assert "debugging.js" not in render()
    settings.DEBUG = True
    assert config_of(render())["diagnosis"] == "/hookbox/diagnosis/"
    script = '<script src="/static/djhookbox/debugging.js" nonce="n0nce"></script>'
    assert script in render(csp_nonce="n0nce", arguments="import_map=False")
    assert "http://testserver/admin/djhookbox/channelpolicy/" in config_of(render())["hint"]
    html = Template("{% load djhookbox %}{% hookbox_script %}").render(Context())
    assert "/admin/djhookbox/channelpolicy/" in config_of(html)["hint"]
    settings.ROOT_URLCONF = "tests.test_reachability"  # no admin there
    assert "hookbox_explain" in config_of(render())["hint"]
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert "diagnosis" not in config_of(render())


def test_the_address_follows_the_settings():
    user = User(username="alice")
    with override_settings(HOOKBOX_PORT=9001):
        assert config_of(render(user))["port"] == 9001
    with override_settings(HOOKBOX_PUBLIC_URL="https://example.com/live/"):
        assert config_of(render(user)) == {"url": "https://example.com/live", "user": "alice"}


def test_the_client_is_known_by_name():
    assert imports_of(render()) == {
        "djhookbox": "/static/djhookbox/hookbox.min.js",
        "djhookbox/legacy": "/static/djhookbox/legacy.min.js",
    }


@pytest.mark.parametrize("where", ["context", "request"])
def test_the_import_map_carries_the_nonce(where):
    nonce = LazyNonce(lambda: "n0nce")
    html = render(**{"csp_nonce" if where == "context" else "request_nonce": nonce})
    assert IMPORT_MAP.search(html)[1] == ' nonce="n0nce"'
    assert html.count("n0nce") == 2, "data needs no nonce"


def test_no_nonce_no_attribute():
    assert IMPORT_MAP.search(render(csp_nonce=None))[1] == ""


def test_nothing_ends_the_script_element_early():
    with override_settings(STATIC_URL="/s</script><b>&/"):
        html = render(User(username="alice"))
    assert html.count("</script>") == 3
    assert imports_of(html)["djhookbox"].startswith("/s")


def test_renamed_files_are_all_in_the_map(tmp_path):
    storages = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }
    with override_settings(STORAGES=storages, STATIC_ROOT=tmp_path, DEBUG=False):
        call_command(Command(), verbosity=0, interactive=False)
        imports = imports_of(render())
    assert set(imports) == {"djhookbox", "djhookbox/legacy"} | {
        f"/static/djhookbox/{name}.min.js" for name in SCRIPTS
    }
    for name, address in imports.items():
        assert re.fullmatch(r"/static/djhookbox/\w+\.min\.[0-9a-f]{12}\.js", address)
        assert (tmp_path / address.removeprefix("/static/")).is_file(), name


def test_a_storage_that_signs_addresses_gets_every_module_signed(monkeypatch):
    def signed(path):
        return f"https://cdn.example/{path}?signature={len(path)}"

    monkeypatch.setattr("djhookbox.templatetags.djhookbox.static", signed)
    imports = imports_of(render(SimpleNamespace(is_authenticated=False)))
    assert imports["https://cdn.example/djhookbox/shared.min.js"] == signed(
        "djhookbox/shared.min.js"
    )


def test_scripts_are_what_the_client_imports():
    found, waiting = set(), ["hookbox", "legacy"]
    while waiting:
        name = waiting.pop()
        found.add(name)
        source = (CLIENT / f"{name}.min.js").read_text()
        names = re.findall(r'(?:\bfrom|\bimport\()"\./(\w+)\.min\.js"', source)
        waiting += [name for name in names if name not in found]
    assert sorted(found) == sorted(SCRIPTS)


def test_entries_for_an_import_map_of_the_pages_own():
    template = Template('{% load djhookbox %}{"imports": {"a": "/b.js", {% hookbox_imports %}}}')
    assert json.loads(template.render(Context()))["imports"] == {
        "a": "/b.js",
        "djhookbox": "/static/djhookbox/hookbox.min.js",
        "djhookbox/legacy": "/static/djhookbox/legacy.min.js",
    }
    with override_settings(STATIC_URL="/s</script>&/"):
        assert "<" not in template.render(Context())


def test_a_page_without_an_import_map_learns_where_renamed_scripts_are(monkeypatch):
    plain = render(User(username="a"), "import_map=False")
    assert plain.count("<script") == 1
    assert "modules" not in config_of(plain)
    tag = "djhookbox.templatetags.djhookbox.static"
    monkeypatch.setattr(tag, lambda path: f"/static/{path.removesuffix('.js')}.123456789abc.js")
    assert config_of(render(User(username="a"), "import_map=False"))["modules"] == {
        "csp_transport": "/static/djhookbox/csp_transport.min.123456789abc.js",
        "shared": "/static/djhookbox/shared.min.123456789abc.js",
    }


def refreshing(arguments, **context):
    template = Template("{% load djhookbox %}{% hookbox_refresh " + arguments + " %}")
    return template.render(Context(context))


def test_an_element_that_is_kept_up_to_date():
    assert refreshing('"/tasks/"') == (
        '<script type="module" src="/static/djhookbox/refresh.js"></script>'
        '<hookbox-refresh channel="/tasks/" spread="0.5" hidden></hookbox-refresh>'
    )
    assert refreshing('channel "#a" swap="beforeend" spread=3', channel='/"<b>/') == (
        '<script type="module" src="/static/djhookbox/refresh.js"></script>'
        '<hookbox-refresh channel="/&quot;&lt;b&gt;/" target="#a" swap="beforeend" spread="3" '
        "hidden></hookbox-refresh>"
    )
    assert '.js" nonce="n0nce"></script>' in refreshing('"/a/"', csp_nonce="n0nce")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ('"/a/" swap="delete"', "swap is 'delete'; it must be one of innerHTML"),
        ('"/a/" spread=many', "spread is 'many'; it must be a number of seconds"),
        ('"/a/" spread=less', "spread is -1;"),
        ('"/a/" spread=infinite', "spread is inf;"),
    ],
)
def test_an_element_with_wrong_arguments(arguments, complaint):
    with pytest.raises(TemplateSyntaxError, match=complaint):
        refreshing(arguments, many="many", less=-1, infinite=float("inf"))


def test_an_element_without_a_channel():
    with pytest.raises(ChannelNameError):
        refreshing("missing")
