"""Keep the webhooks that happen by themselves out of the output of `runserver`."""

from __future__ import annotations

import logging

from ..wire import capabilities

#: Webhooks that the process makes from time to time, whatever users do.
ROUTINE = (capabilities.OUTBOX, capabilities.PRUNE, capabilities.CONFIRM, capabilities.EVENTS)


class RoutineFilter(logging.Filter):
    """Drops the line of each such webhook that was answered with status 200.

    Args:
        path: Where the webhooks are, without a trailing slash.

    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._beginnings = tuple(f"POST {path}/{name} " for name in ROUTINE)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show a line."""
        args = record.args
        if getattr(record, "status_code", None) != 200 or not isinstance(args, tuple):
            return True
        return not str(args[0]).startswith(self._beginnings)


def hide(path: str) -> None:
    """Add the filter to the logger of `runserver`, once."""
    logger = logging.getLogger("django.server")
    if not any(isinstance(each, RoutineFilter) for each in logger.filters):
        logger.addFilter(RoutineFilter(path))
