"""Guards for every public function: it never blocks an event loop unnoticed, and a database failure
is a `HookboxError` like any other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import Error, connections
from django.utils.translation import gettext as _

from .exceptions import HookboxDatabaseError, HookboxError, HookboxSynchronousOnly

P = ParamSpec("P")
T = TypeVar("T")


def synchronous(instead: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Refuse to run in an event loop, before anything is done.

    Args:
        instead: The function for asynchronous code, if there is one.

    """

    def decorator(function: Callable[P, T]) -> Callable[P, T]:
        name = function.__name__
        use = instead and f"await djhookbox.{instead}(…)"
        use = use or f"await sync_to_async(djhookbox.{name})(…)"

        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            # As in Django: notebooks have a loop that may be blocked.
            if _in_event_loop() and not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
                raise HookboxSynchronousOnly(
                    _(
                        "%(name)s() cannot be called from asynchronous code. Nothing was done. Use "
                        "“%(instead)s” instead."
                    )
                    % {"name": name, "instead": use},
                    code="async",
                )
            with database_errors():
                return function(*args, **kwargs)

        return wrapper

    return decorator


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert Django's database exceptions to a `HookboxError`, with the original as its cause."""
    try:
        yield
    except HookboxError:
        raise
    except Error as error:
        raise HookboxDatabaseError(
            _("The site's database could not be used: %(problem)s")
            % {"problem": str(error).strip() or type(error).__name__},
            code="unavailable",
        ) from error


def recovering(function: Callable[P, T]) -> Callable[P, T]:
    """Call a read-only function again if its database connection turns out to be cut.

    Django opens new connections when a request starts. A worker or a command that runs for days
    handles no requests and would keep a connection that a database restart has cut.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with database_errors():
            held = HeldConnections()
            try:
                return function(*args, **kwargs)
            except Error:
                if not held.were_cut():
                    raise
                return function(*args, **kwargs)

    return wrapper


class HeldConnections:
    """The database connections that are open before an attempt."""

    def __init__(self) -> None:
        self._held = [
            (connection, connection.connection)
            for connection in connections.all(initialized_only=True)
            if connection.connection is not None
        ]

    def were_cut(self) -> bool:
        """Return after an error whether a connection was cut, so that a second attempt may help.

        Unusable connections are closed; Django opens new ones. In a transaction they are kept:
        part of the transaction is lost, and its owner must know.
        """
        cut = False
        for connection, handle in self._held:
            if connection.in_atomic_block or not connection.autocommit:
                continue
            if connection.connection is handle and not connection.is_usable():
                connection.close()
            # Django has already replaced it on leaving an atomic block.
            cut = cut or connection.connection is not handle
        return cut
