"""The signals of `djhookbox.signals`: the very same objects."""

from djhookbox.signals import (
    connect,
    create,
    destroy,
    disconnect,
    publish,
    signals,
    subscribe,
    unsubscribe,
)

__all__ = [
    "connect", "create", "destroy", "disconnect", "publish", "signals", "subscribe",
    "unsubscribe",
]  # fmt: skip
