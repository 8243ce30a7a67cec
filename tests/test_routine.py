"""The output of `runserver`: what happens by itself is not printed, everything else is."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from djhookbox.process import routine


@pytest.fixture
def printed() -> Iterator[list[str]]:
    """What `runserver` prints, with the filter."""
    logger = logging.getLogger("django.server")
    found: list[str] = []

    class Printer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    printer, level, filters = Printer(), logger.level, logger.filters[:]
    logger.addHandler(printer)
    logger.setLevel(logging.INFO)
    routine.hide("/hookbox")
    routine.hide("/hookbox")
    assert len(logger.filters) == len(filters) + 1
    yield found
    logger.filters[:] = filters
    logger.setLevel(level)
    logger.removeHandler(printer)


@pytest.mark.parametrize(
    ("request_line", "status", "shown"),
    [
        ("POST /hookbox/outbox HTTP/1.1", 200, False),
        ("POST /hookbox/events HTTP/1.1", 200, False),
        ("POST /hookbox/events HTTP/1.1", 403, True),
        ("POST /hookbox/connect HTTP/1.1", 200, True),
        ("POST /elsewhere/events HTTP/1.1", 200, True),
        ("GET / HTTP/1.1", 200, True),
    ],
)
def test_lines(printed: list[str], request_line: str, status: int, shown: bool) -> None:
    extra = {"status_code": status}
    logging.getLogger("django.server").info('"%s" %s %s', request_line, status, "9", extra=extra)
    assert len(printed) == shown


def test_lines_without_a_status_are_shown(printed: list[str]) -> None:
    logging.getLogger("django.server").info("POST /hookbox/outbox ")
    assert printed == ["POST /hookbox/outbox "]
