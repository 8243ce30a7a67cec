"""What tests let the site do, in a request of its own: `site.do("publish", "/room/", "hello")`."""

from __future__ import annotations

import datetime
import json
import time
import traceback
import uuid
from typing import Any

from django.apps import apps
from django.contrib.auth import SESSION_KEY, get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import Group
from django.core.checks import run_checks
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

import djhookbox
import djhookbox.online
from djhookbox.exceptions import HookboxError
from djhookbox.models import ChannelPolicy
from djhookbox.process import control as process_control

DOINGS: dict[str, Any] = {}


def doing(function: Any) -> Any:
    DOINGS[function.__name__] = function
    return function


@csrf_exempt
@login_not_required
def do(request: HttpRequest) -> JsonResponse:
    """Call a doing with the arguments of the body and answer what it returns."""
    name, args, kwargs = json.loads(request.body)
    try:
        result = DOINGS[name](request, *args, **kwargs)
    except Exception:
        if transaction.get_connection().in_atomic_block:
            transaction.set_rollback(True)  # as if it had come through, under ATOMIC_REQUESTS
        return JsonResponse({"error": traceback.format_exc()}, status=500)
    return JsonResponse({"result": result}, encoder=DjangoJSONEncoder)


# ---- people ------------------------------------------------------------------


@doing
def sign_in(request: HttpRequest, name: str, **fields: Any) -> str:
    """Log somebody in, who may be new; return the session's key."""
    user, _created = get_user_model().objects.get_or_create(username=name, defaults=fields)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return str(request.session.session_key)


@doing
def sign_out(request: HttpRequest) -> None:
    logout(request)


@doing
def change_own_password(request: HttpRequest) -> str:
    """Do what Django's password change view does; return the new key of the session."""
    request.user.set_password("another")  # type: ignore[union-attr]
    request.user.save()
    update_session_auth_hash(request, request.user)  # type: ignore[arg-type]
    request.session.save()
    return str(request.session.session_key)


@doing
def whoami(request: HttpRequest) -> str:
    return request.user.get_username()


@doing
def change_user(request: HttpRequest, name: str, password: str = "", **fields: Any) -> None:
    user = get_user_model().objects.get(username=name)
    if password:
        user.set_password(password)
    for field, value in fields.items():
        setattr(user, field, value)
    user.save()


@doing
def change_user_in_vain(request: HttpRequest, name: str, **fields: Any) -> None:
    """Do the same in a transaction that is rolled back."""
    with transaction.atomic():
        change_user(request, name, **fields)
        transaction.set_rollback(True)


@doing
def delete_user(request: HttpRequest, name: str) -> None:
    get_user_model().objects.get(username=name).delete()


@doing
def update_users(request: HttpRequest, name: str, **fields: Any) -> None:
    """Change a user as many programs do, without a signal."""
    assert get_user_model().objects.filter(username=name).update(**fields)


@doing
def delete_session(request: HttpRequest, key: str) -> None:
    session = apps.get_model("sessions", "Session").objects.get(pk=key)
    assert SESSION_KEY in session.get_decoded()
    session.delete()


@doing
def expire_session(request: HttpRequest, key: str) -> None:
    """Let a session expire, for which there is no signal."""
    apps.get_model("sessions", "Session").objects.filter(pk=key).update(
        expire_date=timezone.now() - datetime.timedelta(seconds=1)
    )


@doing
def join_group(request: HttpRequest, name: str, group: str) -> int:
    found, _created = Group.objects.get_or_create(name=group)
    get_user_model().objects.get(username=name).groups.add(found)
    return found.pk


@doing
def leave_group(request: HttpRequest, name: str, group: str) -> None:
    get_user_model().objects.get(username=name).groups.remove(Group.objects.get(name=group))


@doing
def connect_token(request: HttpRequest, name: str) -> str:
    return djhookbox.connect_token(get_user_model().objects.get(username=name))


@doing
def store_revocation(request: HttpRequest, text: str) -> None:
    """Store a revocation that another version might have stored."""
    rows = apps.get_model("djhookbox", "Revocation").objects
    rows.create(key=uuid.uuid4().hex, text=text, created=timezone.now())


# ---- policies and logs -------------------------------------------------------


@doing
def policy(
    request: HttpRequest, pattern: str, groups: list[int] | None = None, **fields: Any
) -> None:
    """Add the policy of a pattern, or edit it."""
    row = ChannelPolicy.objects.filter(pattern=pattern).first()
    row = row or ChannelPolicy(name=pattern.strip("/")[:100], pattern=pattern)
    for field, value in fields.items():
        setattr(row, field, value)
    row.full_clean()
    row.save()
    if groups is not None:
        row.groups.set(groups)


@doing
def policy_in_vain(request: HttpRequest, pattern: str, **fields: Any) -> None:
    """Do the same in a transaction that is rolled back."""
    with transaction.atomic():
        policy(request, pattern, **fields)
        transaction.set_rollback(True)


@doing
def delete_policy(request: HttpRequest, pattern: str) -> None:
    ChannelPolicy.objects.get(pattern=pattern).delete()


@doing
def rows(request: HttpRequest, model: str, **filters: Any) -> list[dict[str, Any]]:
    """Return the rows of a log, oldest first."""
    found = apps.get_model("djhookbox", model).objects.filter(**filters)
    return list(found.order_by("pk").values())


# ---- Hookbox -----------------------------------------------------------------


@doing
def online(request: HttpRequest, channel: str | None = None) -> list[str]:
    return sorted(djhookbox.online.users(channel).values_list("username", flat=True))


@doing
def publish(request: HttpRequest, channel: str, payload: Any) -> int:
    return djhookbox.publish(channel, payload)


@doing
def cursor(request: HttpRequest, channel: str) -> str:
    return djhookbox.cursor(channel)


@doing
def publish_and_fail(request: HttpRequest, channel: str, payload: Any) -> None:
    """Publish and roll back, if there is a transaction."""
    get_user_model().objects.create(username="never seen")
    djhookbox.publish(channel, payload)
    raise RuntimeError("after publishing")


@doing
def try_to_publish(request: HttpRequest, channel: str, payload: Any) -> dict[str, Any]:
    """Publish; return the kind of error, its text and how long it took."""
    started = time.monotonic()
    kind = text = ""
    try:
        djhookbox.publish(channel, payload)
    except HookboxError as error:
        kind, text = type(error).__name__, str(error)
    return {"error": kind, "text": text, "seconds": time.monotonic() - started}


@doing
def attempt(request: HttpRequest, name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Call one of our functions; return what kind of error it raised, and its text."""
    try:
        getattr(djhookbox, name)(*args, **kwargs)
    except HookboxError as error:
        return {"error": type(error).__name__, "text": str(error), "code": error.code}
    return {"error": "", "text": "", "code": ""}


@doing
def set_channel_options(request: HttpRequest, channel: str, **options: Any) -> None:
    djhookbox.set_channel_options(channel, **options)


@doing
def unsubscribe(request: HttpRequest, channel: str, name: str) -> None:
    djhookbox.unsubscribe(channel, name)


@doing
def subscribe(request: HttpRequest, channel: str, name: str) -> None:
    djhookbox.subscribe(channel, name)


@doing
def channel_info(request: HttpRequest, channel: str) -> dict[str, Any]:
    return djhookbox.channel_info(channel)


@doing
def state_set(request: HttpRequest, channel: str, key: str, value: Any) -> None:
    djhookbox.state_set(channel, key, value)


@doing
def state_delete(request: HttpRequest, channel: str, key: str) -> None:
    djhookbox.state_delete(channel, key)


@doing
def disconnect(request: HttpRequest, name: str) -> int:
    return djhookbox.disconnect(name, reason="enough")


@doing
def checks(request: HttpRequest) -> list[str]:
    """Return what the system checks say about us."""
    return [
        f"{message.id}: {message.msg} {message.hint}" for message in run_checks(tags=["djhookbox"])
    ]


@doing
def control(request: HttpRequest, action: str) -> dict[str, Any]:
    """Press a button of the server page; return the state, or what was said instead."""
    try:
        status = getattr(process_control, action)()
    except process_control.ProcessError as error:
        return {"error": str(error)}
    return {"state": status.state.value, "pid": status.pid, "identified": status.identified}


# ---- durable channels --------------------------------------------------------


@doing
def publish_many(
    request: HttpRequest, channel: str, payloads: list[Any], *, rollback: bool = False
) -> list[Any]:
    """Publish in one transaction, which may be rolled back."""
    with transaction.atomic():
        results = [djhookbox.publish(channel, payload) for payload in payloads]
        transaction.set_rollback(rollback)
    return results


@doing
def publish_in_savepoints(request: HttpRequest, channel: str, payloads: list[Any]) -> None:
    """Publish each in a savepoint; those of odd numbers are rolled back."""
    with transaction.atomic():
        for index, payload in enumerate(payloads):
            with transaction.atomic():
                djhookbox.publish(channel, payload)
                transaction.set_rollback(bool(index % 2))


@doing
def publish_after_commit(request: HttpRequest, channel: str, payload: Any) -> None:
    """Publish in an `on_commit` in an `on_commit`."""

    def first() -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: djhookbox.publish(channel, payload))

    with transaction.atomic():
        transaction.on_commit(first)


@doing
def group_names(request: HttpRequest) -> list[str]:
    return list(Group.objects.values_list("name", flat=True))


@doing
def stored_payloads(request: HttpRequest) -> list[str]:
    """Return what the streams hold."""
    entries = apps.get_model("djhookbox", "StreamEntry").objects.order_by("number")
    return list(entries.values_list("payload", flat=True))


@doing
def current_payloads(request: HttpRequest) -> dict[str, list[Any]]:
    """Return what the current epoch of each durable channel holds."""
    entries = apps.get_model("djhookbox", "StreamEntry").objects.filter(epoch=F("channel__epoch"))
    found: dict[str, list[Any]] = {}
    for channel, text in entries.order_by("number").values_list("channel__name", "payload"):
        found.setdefault(channel, []).append(json.loads(text))
    return found


@doing
def payloads_of(request: HttpRequest, mark: str) -> list[str]:
    """Return what one transaction of `durable_publisher` has published."""
    by, _, tx = mark.partition(".")
    return [
        text
        for text in stored_payloads(request)
        if (found := json.loads(text)).get("by") == by and found["tx"] == int(tx)
    ]
