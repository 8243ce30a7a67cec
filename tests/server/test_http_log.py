"""Clients that do not send HTTP cannot fill the log."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web

from djhookbox.server.app import Server
from djhookbox.server.config import ServerConfig
from djhookbox.server.http_log import HttpLog


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe\x00\r\n\r\n", b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n",
        b"GET /csp/" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
async def test_no_http(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(ServerConfig(port=0))
    address = await server.start()
    try:
        for start in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"):
            port = int(address.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start + data)
            answer = await asyncio.wait_for(reader.read(), 20)  # it ends
            assert b" 400 " in answer
            assert b"Traceback" not in answer
            writer.close()
    finally:
        await server.stop()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_bugs_are_told(caplog: pytest.LogCaptureFixture) -> None:
    log = HttpLog(logging.getLogger("djhookbox.server"), {})
    try:
        raise web.HTTPGone
    except web.HTTPGone as error:
        log.exception("Error handling request from %s", "10.0.0.1", exc_info=error)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR", "Error handling request from 10.0.0.1",
    )  # fmt: skip
    assert record.exc_info
