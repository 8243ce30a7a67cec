"""The name of 2011 for `djhookbox`: the same app, the same public names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import djhookbox

if TYPE_CHECKING:
    from djhookbox import *  # noqa: F403

__version__ = djhookbox.__version__
__all__ = list(djhookbox.__all__)  # computed, so that it cannot differ


def __getattr__(name: str) -> object:
    if name in __all__:
        value: object = getattr(djhookbox, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
