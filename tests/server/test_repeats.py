"""Recurring problems are summed up."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from djhookbox.server.repeats import MOST_TEXTS, Repeats

NAME = "djhookbox.server.repeats_of_tests"


class Log:
    """A logger with the filter, a clock and what has been logged."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[str] = []
        self.repeats = Repeats(10.0, lambda: self.now)
        self.logger = logging.getLogger(NAME)
        self.logger.propagate = False
        self.handler = logging.Handler()
        self.handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]

    def took(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    log.logger.addHandler(log.handler)
    log.logger.addFilter(log.repeats)
    log.logger.setLevel(logging.DEBUG)
    yield log
    log.logger.removeFilter(log.repeats)
    log.logger.removeHandler(log.handler)


def test_the_first_is_told_at_once_and_the_rest_counted(log: Log) -> None:
    for _ in range(500):
        log.logger.warning("Webhook %s failed: %s", "connect", "refused")
    assert log.took() == ["Webhook connect failed: refused"]
    log.now += 9
    log.repeats.sum_up()
    assert log.took() == []
    log.now += 1
    log.repeats.sum_up()
    assert log.took() == ["499 more in 10 s: Webhook connect failed: refused"]


def test_what_goes_on_is_only_counted_until_it_has_stopped(log: Log) -> None:
    counts = []
    for _ in range(3):
        for _ in range(20):
            log.logger.error("It fails")
        log.now += 10
        log.repeats.sum_up()
        counts.append(log.took())
    assert counts == [
        ["It fails", "19 more in 10 s: It fails"],
        ["20 more in 10 s: It fails"],
        ["20 more in 10 s: It fails"],
    ]
    log.now += 10
    log.repeats.sum_up()
    assert log.took() == []
    log.logger.error("It fails")
    assert log.took() == ["It fails"], "it is news again"


def test_different_texts_are_told_but_not_any_number(log: Log) -> None:
    for number in range(100):
        log.logger.warning("A page of %r was refused", f"https://{number}.example")
    assert len(log.took()) == MOST_TEXTS
    log.logger.warning("Something else")
    assert log.took() == ["Something else"]
    log.repeats.sum_up(all_of_it=True)
    more = 100 - MOST_TEXTS
    assert log.took() == [f"{more} more in 0 s: A page of 'https://99.example' was refused"]


def test_what_is_no_problem_is_never_summed_up(log: Log) -> None:
    for _ in range(3):
        log.logger.info("Connection opened")
        log.logger.debug("A frame")
    assert len(log.took()) == 6


def test_tracebacks_are_told_once(log: Log) -> None:
    for _ in range(50):
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            log.logger.exception("Unexpected error: connection %s", "x")
    assert log.took() == ["Unexpected error: connection x"]
