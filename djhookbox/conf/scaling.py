"""The settings for several nodes."""

from __future__ import annotations

import importlib.util

from ..exceptions import HookboxMisconfigured
from ..wire.engines import MEMORY, BadAddress, parse
from .reading import SettingsReader

#: More processes than machines have cores.
MAX_WORKERS = 1000


class ScalingSettings(SettingsReader):
    """How many nodes there are, and where they share channels and users."""

    @property
    def workers(self) -> int:
        """The number of processes that share the port; more than one requires Redis."""
        return self._int("HOOKBOX_WORKERS", 1, most=MAX_WORKERS)

    @property
    def node_url(self) -> str:
        """The URL at which nodes on other machines reach this one; "" for none."""
        return self._url("HOOKBOX_NODE_URL", ("http",)) or ""

    @property
    def engine(self) -> str:
        """`memory` for one node, or the address of Redis or Valkey for any number."""
        value = self._str("HOOKBOX_ENGINE", MEMORY)
        if value == MEMORY:
            return value
        try:
            parse(value)
        except BadAddress as problem:
            raise HookboxMisconfigured(f"HOOKBOX_ENGINE is wrong: {problem}.") from None
        if importlib.util.find_spec("redis") is None:
            raise HookboxMisconfigured(
                "HOOKBOX_ENGINE names Redis, but its client is not installed. Run: pip install "
                "'django-hookbox[redis]'"
            )
        return value
