"""What the doctor says about the engine and the nodes that share it."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from djhookbox import client
from djhookbox.doctor.base import Finding, Level, Patient
from djhookbox.doctor.nodes import Engine
from djhookbox.exceptions import HookboxNotRunning
from djhookbox.process import control
from djhookbox.wire.answers import NodeInfo, Problem, ServerInfo

REDIS = "redis://localhost:6379/0"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer at all URLs but those with "down" in them; return the URLs that were called."""
    called: list[str] = []

    def answer(base: str = "") -> ServerInfo:
        called.append(base)
        if "down" in base:
            raise HookboxNotRunning(f"Nothing answers at {base}.")
        return ServerInfo()

    monkeypatch.setattr(client, "get_server_info", answer)
    return called


def examine(engine: str, *nodes: NodeInfo, **facts: Any) -> list[Finding]:
    """Return what is found if the process reports this."""
    status = control.ProcessStatus(
        state=control.State.RUNNING, message="", engine=engine,
        info=ServerInfo(engine=engine, nodes=nodes, **facts),
    )  # fmt: skip
    with mock.patch.object(control, "status", return_value=status):
        found = list(Engine().run(Patient("http://a", "http://a", proxied=True)))
    assert all(each.advice for each in found if each.level is not Level.OK)
    return found


@pytest.mark.parametrize(
    ("engine", "text"), [("memory", "one process"), ("other", "other"), ("", "?")]
)
def test_an_engine_without_nodes(engine: str, text: str) -> None:
    assert text in examine(engine)[0].text


def test_nodes_that_report(settings: Any) -> None:
    settings.HOOKBOX_ENGINE = REDIS
    [found] = examine("redis", NodeInfo("a", connections=3, lag=0.01), NodeInfo("b", connections=4))
    assert (found.level, found.text) == (Level.OK, "redis: 2 nodes with 7 connections")


def test_a_node_that_is_gone_and_one_that_is_late(settings: Any) -> None:
    settings.HOOKBOX_ENGINE = REDIS
    found = examine(
        "redis",
        NodeInfo("a", "host:8001/1", connections=3, lag=0.9),
        NodeInfo("b", "host:8001/2", connections=4, alive=False),
    )
    assert [each.level for each in found] == [Level.OK, Level.WARNING, Level.WARNING]
    assert "1 node with 3 connections" in found[0].text
    assert "host:8001/1 is 900 ms late" in found[1].text
    assert "host:8001/2 no longer reports" in found[2].text


def test_redis_that_does_not_answer(settings: Any) -> None:
    settings.HOOKBOX_ENGINE = REDIS
    [found] = examine("redis", problems=(Problem("engine_down", 12.0),))
    assert (found.level, "12 s" in found.text) == (Level.ERROR, True)


@pytest.mark.parametrize(("setting", "engine"), [(REDIS, "memory"), ("memory", "redis")])
def test_a_process_with_another_engine_than_the_settings(
    settings: Any, setting: str, engine: str
) -> None:
    settings.HOOKBOX_ENGINE = setting
    assert "HOOKBOX_ENGINE" in examine(engine)[-1].text


def test_each_url_is_called_if_there_are_several(settings: Any, calls: list[str]) -> None:
    settings.HOOKBOX_REST_URL = ["http://up:1", "http://down:2", "http://up:3"]
    found = examine("memory")
    assert calls == ["http://up:1", "http://down:2", "http://up:3"]
    assert [each.level for each in found] == [Level.OK, Level.WARNING]
    assert "http://down:2" in found[1].text


def test_a_single_url_is_not_called_again(calls: list[str]) -> None:
    examine("memory")
    assert calls == []
