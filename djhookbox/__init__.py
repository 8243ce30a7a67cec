"""Realtime channels for Django: publish, subscribe, and decide who may do so.

Names are resolved on first use, so that the package can be imported before Django's settings are
configured and before its apps are loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__
from .lazily import lazily

if TYPE_CHECKING:
    from . import signals as signals
    from .api import (
        apublish,
        apublish_many,
        channel_info,
        create,
        disconnect,
        publish,
        publish_many,
        server_info,
        set_channel_options,
        state_delete,
        state_set,
        subscribe,
        unsubscribe,
    )
    from .cursors import Cursor, acursor, cursor
    from .exceptions import (
        ChannelNameError,
        HookboxDatabaseError,
        HookboxError,
        HookboxMisconfigured,
        HookboxRefused,
        HookboxSynchronousOnly,
        HookboxUnreachable,
        PayloadError,
        UserNameError,
    )
    from .fragments import publish_template
    from .handlers import (
        batch_safe,
        register_channel_handler,
        unregister_channel_handler,
        whcallback,
    )
    from .notifying import notify
    from .users.identity import connect_token

#: The module of each public name; "" means that the name is a module itself.
_HOMES = {
    "ChannelNameError": "exceptions",
    "Cursor": "cursors",
    "HookboxDatabaseError": "exceptions",
    "HookboxError": "exceptions",
    "HookboxMisconfigured": "exceptions",
    "HookboxRefused": "exceptions",
    "HookboxSynchronousOnly": "exceptions",
    "HookboxUnreachable": "exceptions",
    "PayloadError": "exceptions",
    "UserNameError": "exceptions",
    "acursor": "cursors",
    "apublish": "api",
    "apublish_many": "api",
    "batch_safe": "handlers",
    "channel_info": "api",
    "connect_token": "users.identity",
    "create": "api",
    "cursor": "cursors",
    "disconnect": "api",
    "notify": "notifying",
    "publish": "api",
    "publish_many": "api",
    "publish_template": "fragments",
    "register_channel_handler": "handlers",
    "server_info": "api",
    "set_channel_options": "api",
    "signals": "",
    "state_delete": "api",
    "state_set": "api",
    "subscribe": "api",
    "unregister_channel_handler": "handlers",
    "unsubscribe": "api",
    "whcallback": "handlers",
}

__all__ = [
    "ChannelNameError",
    "Cursor",
    "HookboxDatabaseError",
    "HookboxError",
    "HookboxMisconfigured",
    "HookboxRefused",
    "HookboxSynchronousOnly",
    "HookboxUnreachable",
    "PayloadError",
    "UserNameError",
    "__version__",
    "acursor",
    "apublish",
    "apublish_many",
    "batch_safe",
    "channel_info",
    "connect_token",
    "create",
    "cursor",
    "disconnect",
    "notify",
    "publish",
    "publish_many",
    "publish_template",
    "register_channel_handler",
    "server_info",
    "set_channel_options",
    "signals",
    "state_delete",
    "state_set",
    "subscribe",
    "unregister_channel_handler",
    "unsubscribe",
    "whcallback",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
