"""Choose the engine that the configuration names."""

from __future__ import annotations

from ...wire.engines import MEMORY, parse
from ..config import ServerConfig
from ..core.keeping import OVERHEAD
from .base import Engine
from .memory import MemoryEngine


def make_engine(config: ServerConfig) -> Engine:
    """Return the engine; Redis is imported only if it is used."""
    most, recovery = config.max_channel_history, config.recovery_seconds
    if config.engine == MEMORY:
        return MemoryEngine(
            max_publications=config.max_history // OVERHEAD,  # so that only their bytes matter
            max_stream_bytes=most,
            max_bytes=config.max_history,
            recovery=recovery,
        )
    from .redis.engine import RedisEngine

    return RedisEngine(
        parse(config.engine), lease=config.engine_lease, max_stream_bytes=most, recovery=recovery
    )
