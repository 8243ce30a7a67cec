"""Call the Hookbox process's REST API.

`calls` has the functions. It is imported when one of them is used for the first time, because most
processes of a site, such as its commands, import this package and call nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calls import (
        create_channel,
        cursor,
        disconnect,
        disconnect_all,
        get_channel_info,
        get_server_info,
        get_server_report,
        list_channels,
        list_connections,
        list_users,
        poke,
        publish,
        publish_many,
        revoke,
        set_channel_options,
        state_delete_key,
        state_set_key,
        subscribe,
        tail,
        unsubscribe,
    )

__all__ = [
    "create_channel",
    "cursor",
    "disconnect",
    "disconnect_all",
    "get_channel_info",
    "get_server_info",
    "get_server_report",
    "list_channels",
    "list_connections",
    "list_users",
    "poke",
    "publish",
    "publish_many",
    "revoke",
    "set_channel_options",
    "state_delete_key",
    "state_set_key",
    "subscribe",
    "tail",
    "unsubscribe",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(".calls", __name__), name)
    globals()[name] = value  # not called again for this name
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
