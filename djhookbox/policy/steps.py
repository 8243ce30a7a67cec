"""The steps of a decision as data: one for each policy, handler or receiver that was asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


class Outcome(Enum):
    """The outcome of asking a policy, a handler or a receiver."""

    NO_MATCH = "no_match"
    DEFERRED = "deferred"
    NOT_ASKED = "not_asked"
    NO_OPINION = "no_opinion"
    CREATION_DECIDES = "creation_decides"
    ALLOWED = "allowed"
    REFUSED = "refused"


_SAID: dict[Outcome, str | Promise] = {
    Outcome.NO_MATCH: gettext_lazy("Its pattern does not match."),
    Outcome.DEFERRED: gettext_lazy("It leaves the decision to handlers."),
    Outcome.NO_OPINION: gettext_lazy("It has no opinion."),
    Outcome.CREATION_DECIDES: gettext_lazy(
        "No handler has an opinion: the decision on creating the channel applies."
    ),
    Outcome.ALLOWED: gettext_lazy("It allows this."),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to a decision.

    Attributes:
        who: Who was asked, as in `Decision.decided_by`; empty if no decision was needed.
        outcome: The answer.
        detail: The reason for a refusal, or the method that a handler does not have.

    """

    who: str
    outcome: Outcome
    detail: str = ""

    @property
    def kind(self) -> str:
        """The part of `who` before the colon: `policy`, `handler`, `signal`, `nobody` …."""
        return self.who.partition(":")[0]

    @property
    def name(self) -> str:
        """The part of `who` after the colon: the name of the policy, handler or receiver."""
        return self.who.partition(":")[2]

    @property
    def said(self) -> str:
        """The outcome as a sentence."""
        if self.outcome is Outcome.NOT_ASKED:
            return _("It was not asked: it has no method “%(method)s”.") % {"method": self.detail}
        if self.outcome is Outcome.REFUSED and self.kind == "handler":
            return _("It refuses this: %(reason)s") % {"reason": self.detail}
        if self.outcome is Outcome.REFUSED:
            return self.detail
        if self.outcome is Outcome.ALLOWED and not self.who:
            return _("Allowed.")
        return str(_SAID[self.outcome])
