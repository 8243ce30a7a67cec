"""Set up where the Hookbox process logs: LOGGING or standard error, and the requested files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.utils.translation import gettext as _

from ..wire.jsonlog import JSONFormatter

#: The logger of the access log: who connected, and from where.
ACCESS = "djhookbox.server.access"


class UnusableFile(Exception):
    """A log file cannot be written to.

    Attributes:
        option: The option that names it.
        error: The error reported by the system.

    """

    def __init__(self, option: str, error: OSError) -> None:
        super().__init__(option, error)
        self.option = option
        self.error = error

    def __str__(self) -> str:
        return f"{self.option}: {self.error.filename}: {self.error.strerror}"


@contextmanager
def logging_set_up(
    level: str | None,
    errors: str | None = None,
    access: str | None = None,
    *,
    form: str = "text",
) -> Iterator[str]:
    """Log to standard error unless the project's LOGGING specifies where to log.

    Args:
        level: The level; None leaves it to LOGGING.
        errors: A file to which warnings and errors are also written.
        access: A file to which the access log is written, and nowhere else.
        form: `text`, or `json` for one JSON object per line.

    Raises:
        UnusableFile: A file cannot be opened.

    """
    logger, visitors = logging.getLogger("djhookbox"), logging.getLogger(ACCESS)
    before = logger.level, visitors.level, visitors.propagate
    handlers: list[tuple[logging.Logger, logging.Handler]] = []

    def add(to: logging.Logger, handler: logging.Handler, text: str) -> None:
        plain = logging.Formatter(text)
        handler.setFormatter(JSONFormatter() if form == "json" else plain)
        to.addHandler(handler)
        handlers.append((to, handler))

    try:
        if logging.getLogger("djhookbox.server").hasHandlers():
            where = _("as configured by LOGGING")
        else:
            add(logger, logging.StreamHandler(), "%(asctime)s %(levelname)s %(message)s")
            level = level or "info"
            where = _("standard error, level %(level)s") % {"level": level}
        if errors:
            file = _file("-E/--log-file-errors", errors)
            file.setLevel(logging.WARNING)
            add(logger, file, "%(asctime)s %(levelname)s %(message)s")
        if access:
            add(visitors, _file("-A/--log-file-access", access), "%(asctime)s %(message)s")
            visitors.setLevel(logging.INFO)
            visitors.propagate = False
        if level:
            logger.setLevel(level.upper())
        yield where
    finally:
        logger.setLevel(before[0])
        visitors.setLevel(before[1])
        visitors.propagate = before[2]
        for owner, handler in handlers:
            owner.removeHandler(handler)
            if isinstance(handler, logging.FileHandler):
                handler.close()


def _file(option: str, path: str) -> logging.FileHandler:
    try:
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UnusableFile(option, error) from error
