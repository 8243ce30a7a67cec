"""Keep a site's test runs from reaching the Hookbox process, as Django does for e-mail.

Tests often run with the settings of a site whose process is running. A test that publishes,
deactivates a user or edits a policy must not reach the browsers connected to it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from django.utils.translation import gettext as _

from .exceptions import HookboxNotRunning

_lock = threading.Lock()
_asked = 0

#: Answers REST calls in a test: takes the call and its form, returns HTTP status and JSON.
StandIn = Callable[[str, Mapping[str, str]], tuple[int, str]]

_stand_ins: list[StandIn] = []

#: The answers of a process without connections. Calls that are not listed ask for something that
#: only a process knows.
_ANSWERS: dict[str, dict[str, object]] = {
    "publish": {"delivered": 0},
    "poke": {},
    "disconnect": {"disconnected": 0},
    "revoke": {"disconnected": 0, "channels": 0, "connections": 0},
    "cursor": {"cursor": ""},
    "list_users": {"names": []},
    "create_channel": {},
    "set_channel_options": {},
    "state_set_key": {},
    "state_delete_key": {},
    "subscribe": {},
    "unsubscribe": {},
}


def is_isolated() -> bool:
    """Return whether this is a Django or pytest-django test run that may not reach the process."""
    if _asked:
        return False
    # Both call `setup_test_environment()`, which stores here what it has replaced, for example
    # the e-mail backend. Not imported, because a site that runs no tests does not need it.
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    return hasattr(state, "saved_data")


@contextmanager
def lifted() -> Iterator[None]:
    """Let this test run reach the process until the block ends, in all threads."""
    global _asked
    with _lock:
        _asked += 1
    try:
        yield
    finally:
        with _lock:
            _asked -= 1


@contextmanager
def answered_by(stand_in: StandIn) -> Iterator[None]:
    """Let a server in this process answer all REST calls until the block ends."""
    with _lock:
        _stand_ins.append(stand_in)
    try:
        yield
    finally:
        with _lock:
            _stand_ins.remove(stand_in)


def stand_in() -> StandIn | None:
    """Return what answers REST calls in this test, or None."""
    return _stand_ins[-1] if _stand_ins else None


def refusal() -> str:
    """Return why something was not done."""
    return _(
        "Test runs do not call a Hookbox process. Use djhookbox.testing.real_process() "
        "if this test needs one."
    )


def answer(call: str) -> dict[str, object]:
    """Return the answer to a REST call in place of the process.

    Raises:
        HookboxNotRunning: Only a process could answer it.

    """
    try:
        return dict(_ANSWERS[call])
    except KeyError:
        raise HookboxNotRunning(refusal(), code="unavailable") from None
