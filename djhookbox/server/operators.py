"""What operators ask the process: is it alive, is it ready, and its metrics."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Iterator

from aiohttp import web

from .budget import Incoming
from .channels.durable import Durable
from .exposition import Facts, Missing, exposition
from .runtime import Runtime
from .unsent import Unsent

logger = logging.getLogger("djhookbox.server")

#: Seconds without an empty outbox after which the process is not ready: several pulls failed.
MOST_LAG = 30.0


class Operators:
    """Answer `/health`, `/health/live`, `/health/ready` and `/metrics`.

    Args:
        runtime: What the server shares.
        durable: The puller of the outbox.
        unsent: The unsent bytes of all clients.
        engine: The engine's name.
        secrets: Returns the accepted bearer tokens for `/metrics`.

    """

    def __init__(
        self,
        runtime: Runtime,
        durable: Durable,
        unsent: Unsent,
        incoming: Incoming,
        engine: str,
        secrets: Callable[[], tuple[str, ...]],
    ) -> None:
        self._runtime = runtime
        self._durable = durable
        self._unsent = unsent
        self._incoming = incoming
        self._engine = engine
        self._secrets = secrets
        self._runner: web.AppRunner | None = None

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of the public port."""
        router.add_get("/health", self._live)
        router.add_get("/health/live", self._live)
        router.add_get("/health/ready", self._ready)
        router.add_get("/metrics", self._guarded)

    async def start(self) -> None:
        """Open the port for metrics, if there is one.

        Raises:
            OSError: If the port cannot be opened.

        """
        config = self._runtime.config
        if not config.metrics_port:
            return
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None)
        await self._runner.setup()
        host = config.metrics_interface.strip("[]") or None
        await web.TCPSite(self._runner, host, config.metrics_port).start()

    async def stop(self) -> None:
        """Close the port for metrics."""
        if self._runner is not None:
            await self._runner.cleanup()

    # ---- health ----------------------------------------------------------

    async def _live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        problems = dict(self._problems())
        status = "not ready" if problems else "ready"
        return web.json_response(
            {"status": status, "problems": problems}, status=503 if problems else 200
        )

    def _problems(self) -> Iterator[tuple[str, str]]:
        """Yield what keeps the process from serving clients, by subject."""
        runtime = self._runtime
        if runtime.connections.stopping:
            yield "draining", "The process is stopping."
        if runtime.shared is not None and not runtime.shared.link.is_up:
            yield "engine", "Redis does not answer."
        since = runtime.metrics.failing_since
        if since is not None:
            seconds = time.monotonic() - since
            yield "site", f"Webhooks have failed for {seconds:.0f} s."
        lag = self._durable.lag
        if lag is not None and lag > MOST_LAG:
            yield "outbox", f"The outbox was last empty {lag:.0f} s ago."

    # ---- metrics ---------------------------------------------------------

    async def _guarded(self, request: web.Request) -> web.Response:
        """Answer with the metrics if the bearer token is the REST secret."""
        scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode(errors="surrogateescape")
        fits = [hmac.compare_digest(given, known.encode()) for known in self._secrets()]
        if scheme.lower() != "bearer" or not any(fits):
            return web.Response(
                status=401,
                text="Send the REST secret (HOOKBOX_REST_SECRET) as a bearer token.\n",
                headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
            )
        return await self._metrics(request)

    async def _metrics(self, request: web.Request) -> web.Response:
        facts = Facts(self._runtime, self._durable.lag, self._unsent, self._incoming, self._engine)
        try:
            body, content_type = exposition(facts)
        except Missing as error:
            return web.Response(status=501, text=f"{error}\n")
        return web.Response(body=body, headers={"Content-Type": content_type})
