"""Sites that keep the app, or only its audit log, in a separate database."""

from __future__ import annotations

from pathlib import Path

import pytest

from .projects import Project

pytestmark = pytest.mark.slow

ROUTER = """
AUDIT = {"connectionlog", "subscriptionlog", "publication", "pruning"}

class Router:
    def _here(self, app_label, model_name):
        return app_label == "djhookbox" and (WHOLE_APP or model_name in AUDIT)

    def db_for_read(self, model, **hints):
        here = self._here(model._meta.app_label, model._meta.model_name)
        return "realtime" if here else "default"

    db_for_write = db_for_read

    def allow_relation(self, one, other, **hints):
        return True

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        if model_name is None and app_label == "djhookbox":
            return None
        return (db == "realtime") == self._here(app_label, model_name)
"""

URLS = """
from django.contrib import admin
from django.urls import include, path
urlpatterns = [path("admin/", admin.site.urls), path("hookbox/", include("djhookbox.urls"))]
"""

CHECK = """
import json
from unittest import mock
from django.contrib.auth.models import Group, Permission, User
from django.db import connections, transaction
from django.test import Client
import djhookbox
from djhookbox import client
from djhookbox.audit import pruning
from djhookbox.conf import settings
from djhookbox.decisions import files
from djhookbox.decisions.store import cache
from djhookbox.models import ChannelPolicy, ConnectionLog, PolicyGroup, Publication, SubscriptionLog
from djhookbox.testing import capture_publications

told = mock.MagicMock()
client.revoke = told.revoke
def rechecked():
    (revoked, _seconds), _kwargs = told.revoke.call_args
    return [pattern for each in revoked for pattern in each.patterns]
tables = {alias: set(connections[alias].introspection.table_names()) for alias in connections}
assert "djhookbox_publication" in tables["realtime"] - tables["default"]
assert ("djhookbox_channelpolicy" in tables["default"]) != WHOLE_APP

root = User.objects.create_superuser("root", password="x")
group = Group.objects.create(name="readers")
policy = ChannelPolicy.objects.create(name="g", pattern="/g/", subscribe_audience="groups")
policy.groups.add(group.pk)
p = {"name": "p", "pattern": "/p/", "subscribe_audience": "permission", "permission": "a.b"}
ChannelPolicy.objects.create(**p)

cache.drop()
assert [rule.groups for rule in cache.get() if rule.name == "g"] == [frozenset([group.pk])]
browser = Client(headers={"X-Hookbox-Version": "djhookbox/1.0.0"})
browser.force_login(root)
def webhook(action, **fields):
    answer = browser.post(f"/hookbox/{action}",
        {"action": action, "secret": settings.webhook_secrets[0], "conn_id": "c", **fields})
    assert answer.status_code == 200, answer.content
    return json.loads(answer.content)[1]

connected = webhook("connect")
known = {"user": "root", "identity": connected["identity"]}
webhook("subscribe", channel_name="/g/", **known)
webhook("publish", channel_name="/g/", payload="1", **known)
assert ConnectionLog.objects.count() == SubscriptionLog.objects.count() == 1
with capture_publications():
    djhookbox.publish("/g/", 2)
    with transaction.atomic():
        djhookbox.publish("/g/", 3)
assert Publication.objects.count() == 3
assert pruning.prune(30).complete

change = f"channelpolicy/{policy.pk}/change/"
pages = ["", "connectionlog/", "subscriptionlog/", "publication/", "server/"]
for path in [*pages, "channelpolicy/", "channelpolicy/add/", change]:
    assert browser.get(f"/admin/djhookbox/{path}").status_code == 200, path

# Policies and groups know each other, wherever they are.
other = Group.objects.create(name="writers")
lonely = ChannelPolicy.objects.create(name="l", pattern="/l/")
assert list(policy.groups.all()) == [group] and policy.groups.count() == 1
listed = ChannelPolicy.objects.prefetch_related("groups").order_by("name")
assert [[each.name for each in one.groups.all()] for one in listed] == [["readers"], [], []]
assert not listed[0].groups.filter(name="x").exists()
policy.groups.set([other])
assert list(ChannelPolicy.objects.get(pk=policy.pk).groups.all()) == [other]
policy.groups.set([other.pk, group])
assert {each.name for each in policy.groups.all()} == {"readers", "writers"}
form = browser.get(f"/admin/djhookbox/{change}").context_data["adminform"].form
fields = {name: "" if value is None else value for name, value in form.initial.items()}
fields = {name: value for name, value in fields.items() if value is not False}
fields.update(state="{}", polling="{}", server_user_presence="[]", groups=[group.pk])
answer = browser.post(f"/admin/djhookbox/{change}", fields)
assert answer.status_code == 302, answer.context_data["errors"]
assert list(ChannelPolicy.objects.get(pk=policy.pk).groups.all()) == [group]
list_page = "/admin/djhookbox/channelpolicy/"
for action in "duplicate", "export_selected", "disable", "enable":
    some = {"action": action, "_selected_action": [policy.pk]}
    assert browser.post(list_page, some).status_code in (200, 302)
copy = ChannelPolicy.objects.exclude(pk=policy.pk).get(pattern="/g/")
assert list(copy.groups.all()) == [group]
text = files.export(ChannelPolicy.objects.filter(pk=copy.pk))
copy.delete()
assert '"readers"' in text
try:
    with mock.patch.object(type(policy.groups), "set", side_effect=ValueError):
        files.apply(files.plan(text))
except ValueError:
    pass
assert not ChannelPolicy.objects.filter(name=copy.name).exists()  # all or nothing
files.apply(files.plan(text))
copy = ChannelPolicy.objects.get(name=copy.name)
assert list(copy.groups.all()) == [group]
assert browser.post(f"{list_page}{copy.pk}/delete/", {"post": "yes"}).status_code == 302
assert PolicyGroup.objects.count() == 1
lonely.delete()
other.delete()

told.reset_mock()
group.permissions.add(Permission.objects.get(codename="view_server"))
assert "/p/" in rechecked()
told.reset_mock()
page = f"/admin/auth/group/{group.pk}/"
assert browser.post(page + "change/", {"name": "the readers", "permissions": []}).status_code == 302
assert "/p/" in rechecked()
told.reset_mock()
with transaction.atomic():
    Group.objects.get(pk=group.pk).delete()
    transaction.set_rollback(True)
assert PolicyGroup.objects.count() == 1 and not told.revoke.called
assert browser.get(page + "delete/").status_code == 200
assert PolicyGroup.objects.count() == 1
assert browser.post(page + "delete/", {"post": "yes"}).status_code == 302
assert "/g/" in rechecked()
assert not Group.objects.exists() and not PolicyGroup.objects.exists()
assert [rule.groups for rule in cache.get() if rule.name == "g"] == [frozenset()]
policy.delete()
root.delete()
print("all is well")
"""


@pytest.mark.parametrize("whole_app", [True, False], ids=["the whole app", "the audit log"])
def test_a_database_of_its_own(whole_app: bool, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("routers.py", f"WHOLE_APP = {whole_app}\n{ROUTER}")
    project.write("check.py", f"WHOLE_APP = {whole_app}\n{CHECK}")
    project.write_site(
        ["djhookbox"],
        urls=URLS,
        settings="""
DATABASES["realtime"] = {**DATABASES["default"], "NAME": BASE_DIR / "realtime.sqlite3"}
DATABASE_ROUTERS = ["routers.Router"]
ALLOWED_HOSTS = ["testserver"]
""",
    )
    for alias in ("default", "realtime"):
        project.manage("migrate", "-v0", "--database", alias)
        project.manage("dumpdata", "--database", alias)
    assert "all is well" in project.manage("shell", "-v0", "-c", "import check")
