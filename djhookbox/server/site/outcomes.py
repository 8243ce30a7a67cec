"""What a webhook can come to: a reply, a refusal, or a failure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from ...wire import replies
from ...wire.fields import Fault, FieldProblem
from ...wire.replies import REFUSED, Refused
from ...wire.webhooks import Webhook
from ..refusals import UNAVAILABLE, Refusal, WebhookFailed

logger = logging.getLogger("djhookbox.server.webhooks")

R = TypeVar("R", covariant=True)

TOO_LARGE = "That is larger than the site takes"

#: Statuses that mean that the call is at fault: malformed or too large.
REJECTIONS = frozenset({400, 413})


class Rejected(WebhookFailed):
    """The site does not accept this call, and would not accept it again.

    Attributes:
        problem: The reason, for the log.

    """

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(TOO_LARGE if status == 413 else UNAVAILABLE)
        if status == 413:
            self.code = "limit"
        self.problem = problem


class BadStatus(ValueError):
    """An answer with a status other than 200."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


#: The reasons that a browser gets for what cannot be used, by webhook; the first is that of 0.3.3.
_NAMELESS = "Unauthorized (missing name parameter in server response)"
_UNUSABLE = {
    "connect": "Unauthorized (unusable name or options in server response)",
    "message": "Unauthorized (unusable recipient in server response)",
}


class UnusableReply(Refusal):
    """The site grants something, but what it says cannot be used."""

    def __init__(self, hook: str, problem: FieldProblem) -> None:
        if hook == "connect" and problem.fault is Fault.MISSING:
            super().__init__(_NAMELESS, REFUSED)
        elif hook in _UNUSABLE:
            super().__init__(_UNUSABLE[hook], REFUSED)
        else:
            super().__init__(UNAVAILABLE, "unavailable")


@dataclass(frozen=True, slots=True)
class Reply(Generic[R]):
    """The site's reply to a webhook.

    Attributes:
        answer: What the site grants, or why nothing is granted.
        cookies: Cookies for the page's scripts.

    """

    answer: R | Refusal
    cookies: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the site grants what was asked for."""
        return not isinstance(self.answer, Refusal)

    def check(self) -> R:
        """Return what the site grants.

        Raises:
            Refusal: If it refused, or what it grants cannot be used.

        """
        if isinstance(self.answer, Refusal):
            raise self.answer
        return self.answer


def reply_to(webhook: Webhook[R], value: object, cookies: tuple[str, ...] = ()) -> Reply[R]:
    """Return the reply that a JSON value contains; problems of its fields are logged.

    Raises:
        WrongShape: If the value is not a reply.

    """
    tolerated: list[FieldProblem] = []
    try:
        answer = replies.read(webhook.reply, value, tolerated)
    except FieldProblem as problem:
        logger.error("The site's reply to %s is unusable: %s", webhook.name, problem)
        return Reply(UnusableReply(webhook.name, problem), cookies)
    for each in tolerated:
        logger.error("The site's reply to %s has an unusable field: %s", webhook.name, each)
    if isinstance(answer, Refused):
        return Reply(Refusal(answer.reason, answer.code, answer.decided_by), cookies)
    return Reply(cast("R", answer), cookies)


def refusals_in(reply: Reply[R]) -> int:
    """Return how many things the site has refused."""
    answer: object = reply.answer
    if isinstance(answer, replies.SubscribeManyReply):
        decided = answer.channels.values()
        return sum(isinstance(one.create, Refused) for one in decided) + sum(
            isinstance(one.subscribe, Refused) for one in decided
        )
    return int(isinstance(answer, Refusal) and not isinstance(answer, UnusableReply))
