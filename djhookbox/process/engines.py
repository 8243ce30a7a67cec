"""Find out whether the Redis that HOOKBOX_ENGINE names can be used."""

from __future__ import annotations

from ..conf import settings
from ..wire.engines import MEMORY, parse, risk, unfit, why

#: Seconds to wait for each answer.
PATIENCE = 1.0


def problems() -> tuple[str, str]:
    """Return why the engine cannot be used, and why it may lose keys, as sentences; or ""."""
    if settings.engine == MEMORY:
        return "", ""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError, RedisError
    from redis.retry import Retry
    from redis.sentinel import Sentinel

    address = parse(settings.engine)
    where = f"Redis at {address.shown} (HOOKBOX_ENGINE)"
    url = address.url
    retry = Retry(NoBackoff(), 0)
    timeouts = {"socket_connect_timeout": PATIENCE, "socket_timeout": PATIENCE}
    try:
        if address.sentinels:
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                address.sentinels, sentinel_kwargs={**timeouts, "retry": retry}
            )
            host, port = sentinel.discover_master(address.service)  # type: ignore[no-untyped-call]
            url = address.at(host, port)
        with Redis.from_url(url, **timeouts, retry=retry) as client:
            facts = client.info("server")
            memory = client.info("memory")
    except AuthenticationError as error:
        return f"{where} refuses the password: {error}.", ""
    except (RedisError, OSError) as error:
        return f"{where} cannot be reached: {why(str(error))}.", ""
    except (ValueError, TypeError) as error:
        return f"{where} is not an address that redis-py accepts: {error}.", ""
    unusable, careless = (
        f"{where} {found}." if found else "" for found in (unfit(facts), risk(memory))
    )
    return unusable, careless
