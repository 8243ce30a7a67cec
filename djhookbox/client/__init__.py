"""Call the Hookbox process's REST API.

`calls` has the functions. It is imported when one of them is used for the first time, because most
processes of a site, such as its commands, import this package and call nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazily import lazily

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

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "calls"))
