from __future__ import annotations

import subprocess
import sys

import pytest
from django.dispatch import Signal

import djhookbox

NAMES = {
    "notify", "publish", "apublish", "publish_many", "apublish_many", "publish_template",
    "create", "channel_info", "set_channel_options", "state_set",
    "state_delete", "subscribe", "unsubscribe", "disconnect", "server_info",
    "register_channel_handler", "unregister_channel_handler", "whcallback", "connect_token",
    "signals", "HookboxError", "HookboxRefused", "HookboxUnreachable", "HookboxMisconfigured",
    "HookboxDatabaseError", "HookboxSynchronousOnly", "UserNameError",
    "PayloadError", "ChannelNameError", "__version__", "Cursor", "acursor", "cursor", "batch_safe",
}  # fmt: skip


def test_the_names():
    assert set(djhookbox.__all__) == NAMES
    assert set(dir(djhookbox)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_is_there_and_documented(name):
    value = getattr(djhookbox, name)
    assert value.__doc__


def test_the_same_object_each_time():
    assert djhookbox.publish is djhookbox.publish
    from djhookbox.api import publish

    assert djhookbox.publish is publish


def test_signals():
    assert isinstance(djhookbox.signals.connect, Signal)
    assert djhookbox.signals.signals["subscribe"] is djhookbox.signals.subscribe


def test_what_is_not_there():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = djhookbox.no_such_name
    assert not hasattr(djhookbox, "handlers_of_nobody")


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )


def test_it_can_be_imported_before_the_settings_are_configured():
    done = run(
        "import djhookbox, sys\n"
        "assert 'django' not in sys.modules\n"
        "djhookbox.HookboxError, djhookbox.signals, djhookbox.__version__\n"
        "from django.conf import settings\n"
        "assert not settings.configured\n"
        "print('ok')"
    )
    assert done.stdout == "ok\n", done.stderr


def test_errors_can_be_caught_as_what_they_are():
    assert issubclass(djhookbox.HookboxUnreachable, ConnectionError)
    assert issubclass(djhookbox.PayloadError, ValueError)
    assert issubclass(djhookbox.ChannelNameError, ValueError)
    error = djhookbox.HookboxRefused("No.", status=409, code="refused")
    assert (str(error), error.reason, error.status, error.code) == ("No.", "No.", 409, "refused")
