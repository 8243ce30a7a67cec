"""Calls to the site: form posts as Hookbox makes them, with timeouts, limits and clear errors.

A webhook that fails grants nothing. The details of a failure are logged; the browser never
receives what the site sent (D15).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp

from ...wire import batches, bodies, capabilities, webhooks
from ...wire.webhooks import Batched, Webhook
from ..config import ServerConfig
from ..connection import Connection
from ..metrics import Metrics
from ..refusals import UNAVAILABLE, Refusal, WebhookFailed
from ..tasks import Tasks, within
from .decision_log import DECIDING, DecisionLog
from .explaining import explain, said
from .outcomes import (
    TOO_LARGE,
    BadStatus,
    Rejected,
    Reply,
    UnusableReply,
    refusals_in,
    reply_to,
)
from .posting import FAILURES, Posting
from .queue import Queue, Waiting, caller
from .rush import Rush
from .slots import Slots

__all__ = [
    "TOO_LARGE", "UNAVAILABLE", "Rejected", "Reply", "UnusableReply", "WebhookFailed",
    "Webhooks", "reply_to",
]  # fmt: skip

R = TypeVar("R")

#: Maximum time that a webhook may wait for its turn, in seconds; after that it fails.
MAX_QUEUE_SECONDS = 30.0
#: How long a webhook is made alone after the site did not answer any of a batch.
ALONE_SECONDS = 10.0
#: How long there are no batches after something between us and the site refused one.
WITHOUT_BATCHES_SECONDS = 60.0
#: Answers of a batch to pass on in one turn of the event loop: each lets a client go on.
ANSWERS_AT_ONCE = 25


class Webhooks(Posting):
    """Make webhooks; those that decide share a limited number of slots, and leave in batches.

    An application other than Django's views must not get calls that it does not understand; see
    `accepted`.
    """

    def __init__(self, config: ServerConfig, metrics: Metrics) -> None:
        super().__init__(config, metrics)
        self._slots = Slots(config.webhook_concurrency)
        self._queue = Queue(MAX_QUEUE_SECONDS, self._late)
        self._rush = Rush(self._pump)
        #: The turn of those that do not decide: events, re-checks and pruning.
        self._turn = asyncio.Semaphore(1)
        #: When batches may be tried again, in the loop's time.
        self._batches_from = 0.0
        #: Webhooks that the site wants alone, until when.
        self._alone_until: dict[str, float] = {}
        #: Held while the answers of a batch are passed on.
        self._passing_on = asyncio.Lock()
        self._tasks = Tasks()
        #: Returns what a webhook must not overtake, as something to wait for, or None.
        self.earlier: Callable[[Webhook[object], Connection | None], Awaitable[None] | None] | None
        self.earlier = None

    async def stop(self) -> None:
        """Fail whatever waits, and close the connection pools."""
        self._rush.release()
        await self._tasks.finish(0)
        self._fail_all(self._queue.clear(), WebhookFailed())
        await super().stop()

    async def send(
        self,
        webhook: Webhook[R],
        connection: Connection | None = None,
        *,
        cookie: bool = True,
        patience: float = 1.0,
        quiet: bool = False,
        urgent: bool = False,
    ) -> Reply[R]:
        """Make a webhook and return the site's answer.

        Args:
            webhook: The webhook to make.
            connection: The connection that caused it.
            cookie: Whether to send the connection's cookies.
            patience: The timeout for the answer, as a multiple of the usual one.
            quiet: Whether the caller logs a rejected call itself.
            urgent: Whether it is made at once, in addition to those that wait for their turn; for
                callers that make one at a time.

        Raises:
            Rejected: If the site reports that the call is malformed or too large.
            WebhookFailed: If there is no usable answer.

        """
        if self.decisions is not None and webhook.name in DECIDING:
            return await self._logged(self.decisions, webhook, connection, cookie, patience, quiet)
        return await self._ask(webhook, connection, cookie, patience, quiet, urgent)

    async def _logged(
        self,
        decisions: DecisionLog,
        webhook: Webhook[R],
        connection: Connection | None,
        cookie: bool,
        patience: float,
        quiet: bool,
    ) -> Reply[R]:
        """Make a webhook, and write the decision to the log."""
        started = time.monotonic()
        try:
            reply = await self._ask(webhook, connection, cookie, patience, quiet, urgent=False)
        except WebhookFailed as failure:
            decisions.write(webhook, connection, failure, time.monotonic() - started)
            raise
        decisions.write(webhook, connection, reply, time.monotonic() - started)
        return reply

    async def _ask(
        self,
        webhook: Webhook[R],
        connection: Connection | None,
        cookie: bool,
        patience: float,
        quiet: bool,
        urgent: bool,
    ) -> Reply[R]:
        """Make a webhook, alone or with those that wait; as `send`."""
        if not isinstance(webhook, webhooks.BATCHABLE):
            if urgent:
                return await self._single(webhook, connection, cookie, patience, quiet=quiet)
            async with self._own_turn(webhook.name):
                return await self._single(webhook, connection, cookie, patience, quiet=quiet)
        if self.earlier is not None and (earlier := self.earlier(webhook, connection)) is not None:
            await earlier
        loop = asyncio.get_running_loop()
        alone = self._wants_alone(webhook.name)
        batched = self._batches
        held = self._rush.notice(loop.time()) and batched and not alone
        if not self._queue and not held and self._slots.has_free(adaptive=batched):
            self._slots.take()
            try:
                return await self._single(webhook, connection, cookie, patience, quiet=quiet)
            finally:
                self._slots.give()
                self._pump()
        waiting = Waiting(webhook, connection, cookie, patience, quiet, loop.create_future(), alone)
        if held and not self._queue:
            self._rush.hold()
        self._queue.add(waiting)
        if self._rush.holds and len(self._queue) >= self._slots.weight_of_a_batch:
            self._rush.release()
            self._pump()
        reply: Reply[R] = await waiting.answered
        return reply

    # ---- the queue -------------------------------------------------------

    @property
    def waiting(self) -> int:
        """The number of calls that wait for their turn."""
        return len(self._queue)

    @asynccontextmanager
    async def _own_turn(self, hook: str) -> AsyncIterator[None]:
        try:
            await within(
                MAX_QUEUE_SECONDS, self._turn.acquire(), undo=lambda _: self._turn.release()
            )
        except asyncio.TimeoutError:
            self.failed(hook, "waited too long for its turn")
            raise WebhookFailed from None
        try:
            yield
        finally:
            self._turn.release()

    def _late(self, waiting: Waiting) -> None:
        self.failed(waiting.webhook.name, "waited too long for its turn")
        waiting.answered.set_exception(WebhookFailed())

    @property
    def _batches(self) -> bool:
        """Whether the site can be sent batches now."""
        if capabilities.BATCH not in self.accepted or capabilities.JSON not in self.accepted:
            return False
        return asyncio.get_running_loop().time() >= self._batches_from

    def _wants_alone(self, hook: str) -> bool:
        until = self._alone_until.get(hook)
        return until is not None and asyncio.get_running_loop().time() < until

    def _pump(self) -> None:
        """Send what waits while there are slots, unless it is held for others."""
        while not self._rush.holds and self._queue and self._slots.has_free(adaptive=self._batches):
            taken = self._queue.take(self._slots.weight_of_a_batch, batched=self._batches)
            if not taken:
                return
            self._slots.take()
            self._tasks.start(self._send(taken))

    async def _send(self, taken: list[tuple[Waiting, Batched]]) -> None:
        """Make the calls that leave together, and pass on the answers."""
        try:
            if len(taken) == 1:
                await self._send_one(taken[0][0])
            else:
                await self._send_batch(taken)
        except BaseException:  # we are stopped, or there is a bug
            self._fail_all([waiting for waiting, _form in taken], WebhookFailed())
            raise
        finally:
            self._slots.give()
            self._pump()

    async def _send_one(self, waiting: Waiting) -> None:
        try:
            reply = await self._single(
                waiting.webhook,
                waiting.connection,
                waiting.cookie,
                waiting.patience,
                quiet=waiting.quiet,
            )
        except Refusal as refusal:
            if not waiting.answered.done():
                waiting.answered.set_exception(refusal)
        else:
            if not waiting.answered.done():
                waiting.answered.set_result(reply)

    async def _send_batch(self, taken: list[tuple[Waiting, Batched]]) -> None:
        batch = webhooks.Batch(tuple(form for _waiting, form in taken))
        body = bodies.as_json(webhooks.write(batch, secret=self.config.webhook_secret))
        group = [waiting for waiting, _form in taken]
        patience = max(each.patience for each in group)
        weight = sum(each.weight for each in group)
        headers = self.headers(bodies.JSON_TYPE)
        seconds = self.config.webhook_timeout * patience
        try:
            value, _cookies = await self._timed(batch.name, body, headers, seconds, weight)
            answers = batches.read(reply_to(batch, value).check(), len(group))
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            self._fail_all(group, self.failure(batch.name, error, seconds, quiet=False))
        except (BadStatus, Refusal, ValueError) as error:
            if isinstance(error, BadStatus) and error.status >= 500:
                self._fail_all(group, self.failure(batch.name, error, seconds, quiet=False))
                return
            # Something between us and the views does not like batches: a proxy, another version.
            self.failed(batch.name, f"{error}; its calls are made alone")
            self._batches_from = asyncio.get_running_loop().time() + WITHOUT_BATCHES_SECONDS
            self._queue.put_back(group)
        else:
            await self._pass_on(group, answers)

    def _fail_all(self, group: Sequence[Waiting], failure: Refusal) -> None:
        for waiting in group:
            if not waiting.answered.done():  # one object each: raising it changes its traceback
                waiting.answered.set_exception(WebhookFailed(failure.reason))

    async def _pass_on(
        self, group: Sequence[Waiting], answers: Sequence[batches.Answered | None]
    ) -> None:
        """Pass on the answers of a batch; make alone what the site wants alone."""
        alone = [waiting for waiting, answer in zip(group, answers, strict=True) if answer is None]
        self._queue.put_back([each for each in alone if not each.answered.done()])
        answered = {each.webhook.name for each in group} - {each.webhook.name for each in alone}
        for hook in {each.webhook.name for each in alone}:
            asked = [each for each in group if each.webhook.name == hook]
            if len(asked) > 1 and all(waiting in alone for waiting in asked):
                # None of them can be batched, probably because of a handler or receiver.
                until = asyncio.get_running_loop().time() + ALONE_SECONDS
                self._alone_until[hook] = until
        for hook in answered:
            self._alone_until.pop(hook, None)
        async with self._passing_on:  # several batches may be answered in the same turn
            for start in range(0, len(group), ANSWERS_AT_ONCE):
                part = slice(start, start + ANSWERS_AT_ONCE)
                for waiting, answer in zip(group[part], answers[part], strict=True):
                    if answer is not None and not waiting.answered.done():
                        self._answer(waiting, answer)
                await asyncio.sleep(0)

    def _answer(self, waiting: Waiting, answer: batches.Answered) -> None:
        hook = waiting.webhook.name
        try:
            if answer.status != 200:
                said_so = said(answer.body)
                problem = explain(answer.status, "", said_so, size=0)
                raise BadStatus(answer.status, problem)
            waiting.answered.set_result(self._reply(waiting.webhook, answer.body))
        except ValueError as error:
            waiting.answered.set_exception(self.failure(hook, error, 0, quiet=waiting.quiet))

    # ---- one call --------------------------------------------------------

    async def _single(
        self,
        webhook: Webhook[R],
        connection: Connection | None,
        cookie: bool,
        patience: float,
        *,
        quiet: bool,
    ) -> Reply[R]:
        """Make one webhook now."""
        fields = webhooks.write(webhook, caller(connection), self.config.webhook_secret)
        body, kind = self._body(webhook, fields)
        headers = self.headers(kind)
        if connection is not None:
            if connection.handshake.remote_addr:
                headers["X-Real-IP"] = connection.handshake.remote_addr
            if connection.handshake.host:
                headers["X-Hookbox-Host"] = connection.handshake.host
            if cookie and connection.cookie:
                headers["Cookie"] = connection.cookie
        seconds = self.config.webhook_timeout * patience
        try:
            post = self._timed if isinstance(webhook, webhooks.BATCHABLE) else self.post
            value, cookies = await post(webhook.name, body, headers, seconds)
            return self._reply(webhook, value, cookies)
        except FAILURES as error:
            raise self.failure(webhook.name, error, seconds, quiet=quiet) from None

    def _reply(self, webhook: Webhook[R], value: object, cookies: tuple[str, ...] = ()) -> Reply[R]:
        """Return the reply that a JSON value contains, and count what it refuses."""
        reply = reply_to(webhook, value, cookies)
        if refused := refusals_in(reply):
            self._metrics.refusals[webhook.name] += refused
        return reply

    def _body(self, webhook: Webhook[object], fields: Mapping[str, str]) -> tuple[bytes, str]:
        """Return the body and its type: a form, or JSON if it is large and the site accepts it."""
        reporting = isinstance(webhook, webhooks.Events)
        large = reporting or sum(map(len, fields.values())) > bodies.LARGEST_FORM
        if large and capabilities.JSON in self.accepted:
            return bodies.as_json(fields), bodies.JSON_TYPE
        form = bodies.as_form(fields)
        if len(form) > bodies.LARGEST_FORM and capabilities.JSON in self.accepted:
            return bodies.as_json(fields), bodies.JSON_TYPE
        return form, bodies.FORM_TYPE

    async def _timed(
        self, hook: str, body: bytes, headers: dict[str, str], seconds: float, weight: int = 1
    ) -> tuple[object, tuple[str, ...]]:
        """Post a decision, and learn from the time that the answer takes."""
        started = time.monotonic()
        took = float("inf")
        try:
            answer = await self.post(hook, body, headers, seconds)
            took = time.monotonic() - started
            return answer
        finally:
            waiting = bool(self._queue) and not self._rush.holds
            self._slots.learn(hook, weight, took, waiting=waiting)
