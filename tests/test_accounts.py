"""Sites whose user names are numbers, addresses or objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from .projects import Project

pytestmark = pytest.mark.slow

MODELS = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models

class Number:
    # As PhoneNumberField has it.
    def __init__(self, digits):
        self.digits = digits
    def __str__(self):
        return "+" + self.digits
    def __eq__(self, other):
        return isinstance(other, Number) and self.digits == other.digits
    def __hash__(self):
        return hash(self.digits)
    def __len__(self):
        return len(self.digits)

class NumberField(models.CharField):
    def to_python(self, value):
        return value if isinstance(value, Number) or value is None else Number(value.lstrip("+"))
    def from_db_value(self, value, expression, connection):
        return self.to_python(value)
    def get_prep_value(self, value):
        return None if value is None else self.to_python(value).digits

class Manager(BaseUserManager):
    def get_by_natural_key(self, name):
        return self.get(**{self.model.USERNAME_FIELD: name})

class Account(AbstractBaseUser, PermissionsMixin):
    who = FIELD
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    objects = Manager()
    USERNAME_FIELD = "who"
"""

KINDS = {
    "number": ("models.BigIntegerField(unique=True)", 41524204242, "41524204242"),
    "phone": ("NumberField(max_length=20, unique=True)", "41524204242", "+41524204242"),
    "address": ("models.EmailField(unique=True)", "al.ice+x@example.com", "al.ice+x@example.com"),
}

URLS = """
from django.contrib import admin
from django.urls import include, path
urlpatterns = [path("admin/", admin.site.urls), path("hookbox/", include("djhookbox.urls"))]
"""

SCRIPT = """
import json
from unittest import mock
from django.contrib.auth.models import Group
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings
import djhookbox
from accounts.models import Account
from djhookbox import client
from djhookbox.conf import settings
from djhookbox.decisions.rechecks import recheck
from djhookbox.decisions.trials import UnknownUser, user_named
from djhookbox.models import ChannelPolicy, ConnectionLog, Publication
from djhookbox.testing import capture_publications
from djhookbox.users import identity

GIVEN, NAME = __GIVEN__, __NAME__
told = mock.MagicMock()
client.disconnect, client.revoke = told.disconnect, told.revoke
def revoked():
    (revocation,) = told.revoke.call_args.args[0]
    return revocation.users
client.subscribe, client.unsubscribe = told.subscribe, told.unsubscribe

user = Account.objects.create(who=GIVEN, is_staff=True, is_superuser=True)
user = Account.objects.get(pk=user.pk)
ChannelPolicy.objects.create(name="p", pattern="/users/<username>/",
    create_audience="everyone", subscribe_audience="named_user", publish_audience="everyone")
ChannelPolicy.objects.create(name="g", pattern="/g/", subscribe_audience="groups")
browser = Client(headers={"X-Hookbox-Version": "djhookbox/1.0.0"})
browser.force_login(user)
key = identity.session_identity(browser.session.session_key)

def webhook(action, **fields):
    answer = browser.post(f"/hookbox/{action}",
        {"action": action, "secret": settings.webhook_secrets[0], "conn_id": "c", **fields})
    assert answer.status_code == 200, answer.content
    return json.loads(answer.content)

known = {"user": NAME, "identity": key}
connected = webhook("connect")
assert connected[1].pop("expires") > 0
assert connected == [True, {"name": NAME, "identity": key}]
assert ConnectionLog.objects.get().user_name == NAME
assert webhook("subscribe", channel_name=f"/users/{NAME}/", **known)[0]
assert webhook("publish", channel_name=f"/users/{NAME}/", payload="1", **known)[0]
assert webhook("unsubscribe", channel_name="/g/", **known)[0]
assert webhook("unsubscribe", channel_name="/g/", user=NAME)[0]
token = djhookbox.connect_token(user)
answer = webhook("connect", token=token)
assert answer[1]["name"] == NAME
assert webhook("subscribe", channel_name=f"/users/{NAME}/", user=NAME,
               identity=answer[1]["identity"])[0]
for nobody in ("nobody at all", "9" * 40, "-1", "1.5", NAME + "0"):
    assert identity.by_name(nobody).is_anonymous
    assert webhook("unsubscribe", channel_name="/g/", user=nobody, identity="session:gone")[0]
    try:
        user_named(nobody)
    except UnknownUser:
        pass
    else:
        raise AssertionError(nobody)
assert identity.by_name(NAME) == user == user_named(NAME)
names = [NAME, "nobody at all", "9" * 40]
assert set(recheck({f"/users/{NAME}/": names})[f"/users/{NAME}/"].refused) == set(names) - {NAME}

with capture_publications() as sent:
    assert djhookbox.publish("/g/", 1, user=user) == 1
assert sent[0].user == NAME == Publication.objects.latest("pk").user_name
djhookbox.subscribe("/g/", user)
assert told.subscribe.call_args.args[1] == NAME
djhookbox.disconnect(user)
assert told.disconnect.call_args.kwargs["user"] == NAME

request = RequestFactory().get("/")
request.user = user
page = Template("{% load djhookbox %}{% hookbox_script %}").render(Context({"request": request}))
assert f'"user": "{NAME}"' in page.replace("\\\\u002B", "+").replace("\\\\u002D", "-"), page
answer = browser.get("/admin/djhookbox/channelpolicy/try/users/", {"q": str(GIVEN)[:4]})
assert answer.json() == {"names": [NAME]}, answer.content

told.reset_mock()
group = Group.objects.create(name="readers")
group.user_set.add(user)
assert revoked() == (NAME,)
group.user_set.clear()
assert revoked() == (NAME,)
told.reset_mock()
user.who = GIVEN  # as a form or an importer assigns it
user.save()
assert not told.revoke.called
user.is_active = False
user.who = KeyError  # never saved
user.save(update_fields=["is_active"])
assert revoked() == (NAME,)
told.reset_mock()
Account.objects.get(pk=user.pk).delete()
assert revoked() == (NAME,)
print("all is well")
"""


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_names_need_not_be_texts(kind: str, tmp_path: Path) -> None:
    field, given, name = KINDS[kind]
    project = Project(tmp_path)
    project.write("accounts/__init__.py", "")
    project.write("accounts/models.py", MODELS.replace("FIELD\n", f"{field}\n", 1))
    project.write_site(
        ["accounts", "djhookbox"],
        urls=URLS,
        settings='AUTH_USER_MODEL = "accounts.Account"\nALLOWED_HOSTS = ["testserver"]\n',
    )
    project.manage("migrate", "--run-syncdb", "-v0")
    project.write(
        "check.py", SCRIPT.replace("__GIVEN__", repr(given)).replace("__NAME__", repr(name))
    )
    assert "all is well" in project.manage("shell", "-c", "import check")
