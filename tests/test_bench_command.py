"""`manage.py hookbox bench`: it measures a server of its own, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from djhookbox.benchmark import measuring
from djhookbox.benchmark.crowd import CHANNEL, BenchmarkFailed, Crowd, Publisher
from djhookbox.process import spawning

from .ports import free_port


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("hookbox", "bench", *arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """The processes that were started."""
    found: list[subprocess.Popen[str]] = []

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            found.append(self)

    monkeypatch.setattr(measuring.subprocess, "Popen", Recorded)
    return found


@pytest.mark.process
def test_it_measures(started: list[subprocess.Popen[str]]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    results = json.loads(run("--json", "--connections", "150", "--seconds", "0.2", "--size", "64"))
    assert results["connections"]["count"] == 150
    for name in ("connections", "publications", "deliveries"):
        rate = results[name]
        assert rate["count"] > 0
        assert rate["per_second"] == pytest.approx(rate["count"] / rate["seconds"], rel=0.05)
    assert results["deliveries"]["count"] % 150 == 0  # each message reached everybody
    assert results["delay"] > 0
    if sys.platform == "linux":
        assert results["memory"] > 10 * 1_048_576
        assert results["memory_per_connection"] < 200_000
    (server,) = started
    assert server.returncode == 0
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


@pytest.mark.process
def test_it_prints_a_table() -> None:
    text = run("--connections", "3", "--seconds", "0.1")
    assert text.startswith("Opening 3 connections …\nPublishing for 0.1 s …\n")
    assert "Deliveries to 3 connections" in text
    assert "The site was not involved" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--connections", "0"], "--connections is 0; it must be between 1 and 20000"),
        (["--connections", "20001"], "--connections is 20001"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--seconds", "61"], "--seconds is 61.0"),
        (["--size", "8"], "--size is 8"),
    ],
)
def test_the_bounds(arguments: list[str], text: str, started: list[object]) -> None:
    with pytest.raises(CommandError) as error:
        run(*arguments)
    assert text in str(error.value)
    assert error.value.returncode == 2
    assert started == []


def test_too_few_open_files(started: list[object]) -> None:
    with (
        mock.patch.object(resource, "getrlimit", return_value=(256, 512)),
        pytest.raises(CommandError, match="may open 512 files at most, but 1100 are needed"),
    ):
        run()
    assert started == []


@pytest.mark.process
def test_a_server_that_cannot_start(started: list[subprocess.Popen[str]]) -> None:
    environment = {**spawning.environment(), "PYTHONPATH": os.devnull}
    with (
        mock.patch.object(spawning, "environment", return_value=environment),
        mock.patch.object(spawning, "interpreter", return_value="/bin/false"),
        pytest.raises(CommandError, match="temporary server has ended"),
    ):
        run("--connections", "1")
    assert started[0].returncode == 1


@pytest.mark.process
def test_refusals_are_named() -> None:
    with measuring.rehearsal(5) as server:
        with pytest.raises(BenchmarkFailed, match="Invalid secret"):
            _published(Publisher(server.port, CHANNEL, "wrong", 20))
        crowd = Crowd(server.port, server.secret, 20)
        try:
            assert crowd.connect(2, 20) > 0
            with pytest.raises(BenchmarkFailed, match=r"Only 2 of 3 connections .* in 0 s"):
                crowd.connect(3, -1)
        finally:
            crowd.close()
    with pytest.raises(OSError):
        Publisher(free_port(), CHANNEL, "", 20)


def _published(publisher: Publisher) -> None:
    try:
        publisher.publish()
        while not publisher.receive():
            pass
    finally:
        publisher.socket.close()
