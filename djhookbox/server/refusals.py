"""The refusals that the client or the program that asked receives."""

from __future__ import annotations

UNAVAILABLE = "The site does not answer; try again later"


class Refusal(Exception):
    """A refusal; the text is sent to the client or caller that asked.

    Attributes:
        reason: A plain sentence.
        code: A short code for programs.
        decided_by: Which policy, handler or receiver refuses, if the site has said so.

    """

    def __init__(self, reason: str, code: str = "refused", decided_by: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.decided_by = decided_by


class WebhookFailed(Refusal):
    """The site did not give a usable answer."""

    def __init__(self, reason: str = UNAVAILABLE) -> None:
        super().__init__(reason, "unavailable")
