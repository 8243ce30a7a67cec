"""The CSP transport: RTJP over plain HTTP requests, for clients without WebSockets.

It has handshake, comet, send, close and reflect, as in section 4 of the protocol reference, and
the streaming and server-sent events that the original declared but did not implement.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from ..clients.handshake import Handshakes
from ..config import ServerConfig
from ..connection import MIN_WAITING, Connection
from ..protocol import csp
from ..protocol.csp import Variables
from ..tasks import within
from .csp_session import Comet, CspConnection
from .forwarding import Forwarding, NodeGone, NodeUnreachable

logger = logging.getLogger("djhookbox.server")

#: Data limit of a request, like a WebSocket message's, in bytes, unless frames may be larger.
MIN_BODY_SIZE = 1_048_576
#: Maximum bytes that reflect returns.
MAX_REFLECTED = 65_536
#: Maximum concurrent requests with data per session; browsers make at most six.
MAX_SENDS = 8
#: Timeout in seconds for receiving a request's data, and for the client reading an answer.
BODY_SECONDS = 30.0
ANSWER_SECONDS = 30.0
#: Calls that GET must not make: any page can send a GET by a `<script>`, a link or an image.
CHANGING = ("handshake", "send", "close")
#: Bytes after which a stream ends: only the next request acknowledges its content.
STREAM_BYTES = 262_144


class Problem(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The HTTP status.
        text: The error; a constant, since it is sent to an unknown client.

    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class Csp:
    """Answer requests below /csp/ and keep the sessions.

    Args:
        config: The limits.
        handshakes: Decides which requests may begin a session.
        forwarding: Passes requests on to other nodes, if there are any.

    """

    def __init__(
        self, config: ServerConfig, handshakes: Handshakes, forwarding: Forwarding | None = None
    ) -> None:
        self._config = config
        self._handshakes = handshakes
        self._forwarding = forwarding
        self._sessions: dict[str, CspConnection] = {}
        #: Ended sessions whose client has yet to learn of it, oldest first. Those that never
        #: connected are kept apart, as their clients may never return.
        self._ended: dict[CspConnection, None] = {}
        self._unused: dict[CspConnection, None] = {}
        self._calls: dict[
            str, Callable[[web.Request, CspConnection], Awaitable[web.StreamResponse]]
        ] = {
            "comet": self._comet,
            "send": self._send,
            "close": self._close,
            "reflect": self._reflect,
        }

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of the transport."""
        for method in ("GET", "POST", "OPTIONS"):
            router.add_route(method, "/csp/{endpoint:.*}", self.handle)
            router.add_route(method, "/csp", self.handle)

    def stop(self) -> None:
        """Answer the held requests and forget all sessions, whose connections are closed."""
        for session in list(self._sessions.values()):
            session.forget()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        script = self._config.jsonp and request.method == "GET"
        refusal = self._handshakes.foreign(request, script=script)
        if refusal is not None:
            return refusal
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={**_cors(request), **_PREFLIGHT})
        name = request.match_info.get("endpoint", "")
        if name != "handshake" and name not in self._calls:
            return web.Response(status=404, headers=_headers(request))
        query = _first_values(request)
        try:
            if name == "handshake":
                return self._handshake(request, query)
            if self._forwarding is not None:
                owner = self._forwarding.owner(query.get("s", ""))
                if owner is not None:
                    return await self._forwarding.forward(request, owner)
            session = self._find(request, query, name)
            return await self._calls[name](request, session)
        except NodeGone:
            return _problem(request, Problem(404, "Session not found"))
        except NodeUnreachable:
            return _problem(request, Problem(503, "The session cannot be reached"))
        except Problem as problem:
            return _problem(request, problem)

    # ---- the requests ----------------------------------------------------

    def _handshake(self, request: web.Request, query: Mapping[str, str]) -> web.Response:
        if request.method == "GET" and not self._config.jsonp:
            logger.warning("A CSP handshake by GET was refused: see HOOKBOX_JSONP")
            raise Problem(405, "Use POST")
        full = self._handshakes.full()
        if full is not None:
            full.headers.update(_headers(request))
            return full
        # A `<script>` on any page can make GET requests with the visitor's cookies.
        handshake = self._handshakes.handshake(request, cookies=request.method == "POST")
        session = CspConnection(
            self._config.max_unsent, self._forget, **self._handshakes.terms(handshake)
        )
        if self._forwarding is not None:
            session.key = self._forwarding.new_key(session.key)
        session.jsonp = request.method == "GET"
        self._sessions[session.key] = session
        self._handshakes.enter(session)
        session.variables.update(query)
        session.heard()
        return _reply(request, session.variables, {"session": session.key})

    def _find(self, request: web.Request, query: Mapping[str, str], endpoint: str) -> CspConnection:
        """Return the session of a request, and apply the parameters common to all requests."""
        session = self._sessions.get(query.get("s", ""))
        if session is None:
            raise Problem(404, "Session not found")
        if request.method == "GET" and endpoint in CHANGING and not session.jsonp:
            raise Problem(405, "Use POST")
        session.variables.update(query)
        # Browsers add the header when they reconnect for more server-sent events.
        for text in (query.get("a", ""), request.headers.get("Last-Event-ID", "")):
            acknowledged = csp.integer(text)
            if acknowledged is not None:
                session.outbox.acknowledge(acknowledged)
        session.heard()
        if session.finished:
            session.forget()
            raise Problem(404, "Session not found")
        return session

    async def _send(self, request: web.Request, session: CspConnection) -> web.Response:
        async with self._data(request, session) as data:
            try:
                batch = csp.parse_batch(data)
            except csp.BadBatch:
                raise Problem(400, "Malformed batch") from None
            await session.take(batch)
        if session.finished:
            session.forget()
        return _reply(request, session.variables, "OK")

    async def _close(self, request: web.Request, session: CspConnection) -> web.Response:
        session.leave()
        return _reply(request, session.variables, "OK")

    async def _reflect(self, request: web.Request, session: CspConnection) -> web.Response:
        async with self._data(request, session) as data:
            if len(data) > MAX_REFLECTED:
                raise Problem(413, "Too much data")
            return _reply(request, session.variables, data.decode("utf-8", "replace"))

    @asynccontextmanager
    async def _data(self, request: web.Request, session: CspConnection) -> AsyncIterator[bytearray]:
        """Yield the data of a request, which counts as arriving until the block ends."""
        if session.sends >= MAX_SENDS:
            raise Problem(429, "Too many requests at once")
        session.sends += 1
        data = bytearray()
        try:
            await self._read(request, session, data)
            yield data
        finally:
            session.sends -= 1
            session.arriving -= len(data)
            self._handshakes.incoming.give(len(data))

    async def _read(self, request: web.Request, session: CspConnection, data: bytearray) -> None:
        """Read a request's data into `data`, counted in the session's `arriving`."""
        if request.method == "GET":
            data += _first_values(request).get("d", "").encode("utf-8", "replace")
            session.arriving += len(data)
            self._handshakes.incoming.take(len(data))
            return
        limit = max(MIN_BODY_SIZE, 2 * self._config.max_frame_size)

        async def read() -> None:
            while chunk := await request.content.readany():
                data.extend(chunk)
                session.arriving += len(chunk)
                self._handshakes.incoming.take(len(chunk))
                if len(data) > limit:
                    raise Problem(413, "Too much data")
                if session.arriving > limit or (
                    self._handshakes.incoming.full and session.arriving > MIN_WAITING
                ):
                    raise Problem(429, "Too much data at once")

        try:
            await within(BODY_SECONDS, read())
        except asyncio.TimeoutError:
            raise Problem(408, "The data did not arrive") from None
        except (web.HTTPException, ConnectionError, ValueError):
            raise Problem(400, "The data did not arrive") from None

    async def _comet(self, request: web.Request, session: CspConnection) -> web.StreamResponse:
        comet = session.hold(request.transport)
        try:
            if session.variables.streams:
                return await self._stream(request, session, comet)
            return await self._poll(request, session, comet)
        finally:
            session.let_go(comet)

    async def _poll(
        self, request: web.Request, session: CspConnection, comet: Comet
    ) -> web.StreamResponse:
        variables = session.variables
        until = asyncio.get_running_loop().time() + variables.duration
        packets = await comet.packets(session.outbox, 0, until)
        response = _answer(
            request, variables.opening() + variables.batch(packets), variables.content_type
        )
        if _wants_gzip(request, variables):
            response.enable_compression(web.ContentCoding.gzip)
        # Send it here, so that at most one answer of a session waits for its client.
        await response.prepare(request)
        if await _sent(response.write_eof(), comet):
            self._delivered(session, packets)
        return response

    async def _stream(
        self, request: web.Request, session: CspConnection, comet: Comet
    ) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        variables = session.variables
        end = loop.time() + variables.duration
        headers = {**_headers(request), "X-Accel-Buffering": "no"}  # nginx would buffer it
        headers["Content-Type"] = f"{variables.content_type}; charset=utf-8"
        compressor = zlib.compressobj(wbits=31) if _wants_gzip(request, variables) else None
        if compressor is not None:
            headers["Content-Encoding"] = "gzip"
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        seen = sent = 0
        text, over = variables.opening(), False
        while not over:
            due = min(end, loop.time() + variables.interval) if variables.interval else end
            packets = await comet.packets(session.outbox, seen, due)
            over = comet.over or loop.time() >= end
            if packets or not over or not sent:  # an empty batch is a heartbeat
                text += variables.batch(packets)
            if packets:
                seen = packets[-1][0]
                over = over or packets[-1][1] is None or sent + len(text) > self._stream_bytes
            data = text.encode("ascii")
            if compressor is not None:
                data = compressor.compress(data)
                data += compressor.flush(zlib.Z_FINISH if over else zlib.Z_SYNC_FLUSH)
            if data and not await _sent(response.write(data), comet):
                return response
            self._delivered(session, packets)
            sent, text = sent + len(text), ""
        await _sent(response.write_eof(), comet)
        return response

    # ---- sessions --------------------------------------------------------

    @property
    def _stream_bytes(self) -> int:
        return min(STREAM_BYTES, self._config.max_unsent // 4)

    def ended(self, connection: Connection) -> None:
        """Keep an ended session until its client knows, up to a maximum number of sessions."""
        if isinstance(connection, CspConnection):
            config = self._config
            ended, most = self._ended, config.max_connections
            if connection.user is None:
                ended, most = self._unused, min(most, config.max_unconnected)
            ended[connection] = None
            if len(ended) > most:
                next(iter(ended)).forget()

    def _delivered(self, session: CspConnection, packets: Sequence[csp.Waiting]) -> None:
        """Record what an answer delivered; a delivered last packet needs no acknowledgement."""
        if packets and packets[-1][1] is None:
            session.outbox.end_sent = True
            if session.finished:
                session.forget()

    def _forget(self, session: CspConnection) -> None:
        self._sessions.pop(session.key, None)
        self._ended.pop(session, None)
        self._unused.pop(session, None)


# ---- answers -----------------------------------------------------------------

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "600",
}


def _cors(request: web.Request) -> dict[str, str]:
    """Return the headers that let a page of an allowed foreign origin read the answer."""
    origin = request.headers.get("Origin")
    if origin is None:
        # Browsers ignore this header if they sent no Origin. Clients of 0.3.3 expect it.
        return {"Vary": "Origin", "Access-Control-Allow-Origin": "*"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,  # other origins have been refused
        "Access-Control-Allow-Credentials": "true",
    }


def _problem(request: web.Request, problem: Problem) -> web.Response:
    # Quote the text, since clients evaluate answers.
    answer = _answer(request, f"'{problem.text}'", "text/plain", problem.status)
    if problem.status == 405:
        answer.headers["Allow"] = "POST, OPTIONS"
    return answer


def _headers(request: web.Request) -> dict[str, str]:
    return {
        **_cors(request),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def _answer(request: web.Request, text: str, content_type: str, status: int = 200) -> web.Response:
    return web.Response(
        text=text,
        status=status,
        content_type=content_type,
        charset="utf-8",
        headers=_headers(request),
    )


def _reply(request: web.Request, variables: Variables, value: object) -> web.Response:
    return _answer(request, variables.reply(value), variables.content_type)


async def _sent(writing: Awaitable[None], comet: Comet) -> bool:
    """Wait until an answer, or a part of it, is sent; return whether the client is still there."""
    try:
        await within(ANSWER_SECONDS, writing)
    except asyncio.TimeoutError:
        comet.abort()
        return False
    except ConnectionError:
        return False  # the client returns, or the session times out
    return True


def _wants_gzip(request: web.Request, variables: Variables) -> bool:
    accepted = request.headers.get("Accept-Encoding", "").lower()
    return bool(variables.gzip) and "gzip" in accepted


def _first_values(request: web.Request) -> dict[str, str]:
    """Return the first non-empty value of each parameter, or "" if all its values are empty."""
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if not values.get(name):
            values[name] = value
    return values
