"""The real server in the process of a test: no sockets, no other process, no waiting.

The server runs in the event loop of a thread. Its webhooks are carried out by the thread of the
test, while that waits for the server: only there are the test's transaction and its fixtures. So
a `TestCase` sees what the webhooks write, and all of it is rolled back.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings as django_settings
from django.db import connections
from django.test import Client
from django.urls import NoReverseMatch, get_script_prefix, reverse

from .. import commits, isolation
from ..conf import settings
from ..management.commands import runhookbox
from ..management.configuring import server_config
from ..server.config import ServerConfig
from ..server.inprocess import InProcessServer, SiteAnswer
from ..wire.values import dumps
from .clients import HookboxClient
from .clock import Clock

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

T = TypeVar("T")

#: Seconds after which a test fails instead of waiting for the server any longer.
PATIENCE = 30.0


class _Loop(threading.Thread):
    """Runs an event loop."""

    def __init__(self) -> None:
        super().__init__(name="hookbox-in-process", daemon=True)
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        """Run the loop until `end()`."""
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def end(self) -> None:
        """Stop the loop and wait for the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(PATIENCE)


class InProcessHookbox:
    """A server for one test. Use `in_process()` or `HookboxTestMixin` to get one."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._owner = threading.get_ident()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._thread = _Loop()
        self._thread.start()
        self._server = self._run(self._create())

    # ---- for tests -----------------------------------------------------------------------------

    def connect(
        self,
        user: AbstractBaseUser | None = None,
        *,
        client: Client | None = None,
        token: str = "",
        payload: object = None,
    ) -> HookboxClient:
        """Connect as a browser does, and return the connection.

        Args:
            user: The account that is signed in, with a session of its own; without an argument, an
                anonymous visitor connects.
            client: A client of Django's, whose cookies are sent: a logout there ends the rights of
                the connection after `commit()`.
            token: A connect token, as apps use it.
            payload: Any JSON value for the connect handlers.

        Raises:
            ClientRefused: The site refuses the connection.

        """
        if user is not None:
            if client is not None or token:
                raise TypeError("connect() takes a user, a client or a token.")
            client = Client()
            client.force_login(user)  # type: ignore[arg-type]
        cookie = ""
        if client is not None:
            cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())

        async def open_() -> Any:
            return self._server.connect(cookie, "127.0.0.1")

        connected = HookboxClient(self._run, self._run(open_()), self.settle)
        connected._connect(token, payload)
        return connected

    def commit(self) -> None:
        """Run what waits for the commit of the test's transaction, which a `TestCase` rolls back.

        That includes your own `on_commit` callbacks, and what ends rights: logouts, changed
        passwords, edited policies.
        """
        for connection in connections.all(initialized_only=True):
            commits.run_waiting(connection)
        self.settle()

    def settle(self) -> None:
        """Wait until everything that was caused has happened, and is in the audit log."""
        self._run(self._server.settle())

    def advance(self, seconds: float) -> None:
        """Let time pass: for the server, for `timezone.now()` and for signatures.

        This makes histories, tokens and sessions expire. `time.time()` and the clock of the
        database stay as they are.
        """
        self._clock.advance(seconds)
        self._run(self._server.tick())

    # ---- parts ---------------------------------------------------------------------------------

    async def _create(self) -> InProcessServer:
        return InProcessServer(_config(), self._ask_site, self._clock.time)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the server's loop, and carry out webhooks until it is done."""
        future = asyncio.run_coroutine_threadsafe(work, self._thread.loop)
        if threading.get_ident() != self._owner:
            return future.result(PATIENCE)  # another thread, such as that of a live server
        future.add_done_callback(lambda _: self._jobs.put(None))
        while not future.done():
            try:
                job = self._jobs.get(timeout=PATIENCE)
            except queue.Empty:
                future.cancel()
                raise AssertionError("The in-process server does not answer.") from None
            if job is not None:
                job()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return future.result()

    async def _ask_site(self, hook: str, body: bytes, headers: Mapping[str, str]) -> SiteAnswer:
        """Hand a webhook to the test's thread and wait for the site's answer."""
        answer: Future[SiteAnswer] = Future()

        def job() -> None:
            try:
                answer.set_result(_call_site(hook, body, headers))
            except Exception as error:
                self._failure = error  # of the test, which must see it
                answer.set_exception(OSError(str(error)))

        self._jobs.put(job)
        return await asyncio.wrap_future(answer)

    def _answer(self, call: str, form: Mapping[str, str]) -> tuple[int, str]:
        """Answer a REST call of the site."""
        given = {name: value for name, value in form.items() if name != "secret"}
        try:
            success, value, status = self._run(self._server.rest(call, given))
        except KeyError:
            return 404, "Not Found"
        return status, dumps([success, value])

    def _end(self) -> None:
        try:
            self._run(self._server.stop())
        finally:
            self._thread.end()


@contextmanager
def in_process() -> Iterator[InProcessHookbox]:
    """Run a server without sockets until the block ends; the site's REST calls go there."""
    if not isolation.is_isolated():
        raise RuntimeError("in_process() is only for test runs of Django or pytest-django.")
    hookbox = InProcessHookbox()
    with hookbox._clock.installed(), isolation.answered_by(hookbox._answer):
        try:
            yield hookbox
        finally:
            hookbox._end()


def _config() -> ServerConfig:
    """Return the configuration with which `runhookbox` would run."""
    options = vars(runhookbox.Command().create_parser("manage.py", "runhookbox").parse_args([]))
    return server_config(options)


def _call_site(hook: str, body: bytes, headers: Mapping[str, str]) -> SiteAnswer:
    """Send a webhook through the site's middleware to its view."""
    try:
        path = reverse(f"hookbox_{hook}")
    except NoReverseMatch:
        raise AssertionError(
            "The URLconf does not include the webhooks: add path('hookbox/', "
            "include('djhookbox.urls'))."
        ) from None
    # Django's client takes paths below the prefix, which FORCE_SCRIPT_NAME sets.
    path = "/" + path.removeprefix(get_script_prefix())
    sent = {name: value for name, value in headers.items() if name != "Content-Type"}
    response = Client(raise_request_exception=False).generic(
        "POST", path, body, content_type=headers["Content-Type"],
        secure=bool(django_settings.SECURE_SSL_REDIRECT) or settings.webhook_url[:6] == "https:",
        headers=sent,
    )  # fmt: skip
    return SiteAnswer(response.status_code, response.headers, response.content)
