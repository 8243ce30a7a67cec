"""Choose the parts of the server that depend on whether there are other nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .channels.proposals import Proposals
from .engine.base import Engine
from .runtime import Runtime

if TYPE_CHECKING:
    from .cluster import Cluster
    from .engine.redis.engine import RedisEngine


def make_cluster(engine: Engine) -> Cluster | None:
    """Return this node among others, if the engine is shared with them."""
    if engine.name != "redis":
        return None
    from .cluster import Cluster

    return Cluster(cast("RedisEngine", engine))


def make_proposals(runtime: Runtime, engine: Engine) -> Proposals:
    """Return what proposes changes to the engine."""
    if runtime.shared is None:
        return Proposals(runtime, engine)
    from .channels.shared import SharedProposals

    return SharedProposals(runtime, runtime.shared)
