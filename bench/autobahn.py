"""Run the Autobahn test suite against our WebSocket transport: `python -m bench.autobahn`.

The suite needs Python 2.7: it is installed into an environment of its own, with the versions in
`autobahn.txt`. The server is ours, with its front and its port, but its connections send every
message back. Compression (12.* and 13.*) is left out, because the server does not offer it.

The exit status is 1 if a case does not pass strictly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from djhookbox.server import port as module
from djhookbox.server.app import Server
from djhookbox.server.config import ServerConfig
from djhookbox.server.protocol import websocket
from djhookbox.server.protocol.incoming import BINARY, TEXT, Message
from djhookbox.server.running import new_loop
from djhookbox.server.transports.websocket import WebSocketConnection
from tests.ports import free_port

from .storm import running

#: The cases of compression.
COMPRESSION = ("12.*", "13.*")
#: What counts as passed strictly; cases that are informational have no right or wrong.
STRICT = frozenset({"OK", "INFORMATIONAL"})
#: The largest message of the suite, in bytes.
LARGEST = 16 * 1024 * 1024
#: The first byte of a binary message.
BINARY_HEAD = b"\x82"
REQUIREMENTS = Path(__file__).with_name("autobahn.txt")


class Echo(WebSocketConnection):
    """A connection that sends every message back, instead of reading frames of RTJP."""

    __slots__ = ()

    def _received(self, message: Message) -> asyncio.Task[None] | None:
        if message.kind == TEXT:
            self._control(websocket.text(message.text.encode()))
        elif message.kind == BINARY:
            self._control(BINARY_HEAD + websocket.text(message.data)[1:])
        else:
            return super()._received(message)
        return None


async def serve(port: int) -> None:
    """Serve echoes until cancelled."""
    module.WebSocketConnection = Echo  # type: ignore[misc]
    config = ServerConfig(
        port=port,
        webhook_url="http://127.0.0.1:1/",
        rest_secrets=("x",),
        max_frame_size=LARGEST,
        connect_timeout=3600.0,  # they never send CONNECT
        max_unconnected_per_address=1000,
        ping_interval=3600.0,  # the suite expects no pings
    )
    server = Server(config)
    await server.start()
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of Python 2.7, which has no `venv`: a folder for its user's packages."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**others, "PYTHONUSERBASE": str(folder)}


def install(python: str, folder: Path) -> Path:
    """Return the environment's program `wstest`; create the environment if it does not exist."""
    program = folder / "bin" / "wstest"
    if not program.exists():
        print(f"Installing the suite into {folder}", file=sys.stderr)
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        command += ["--user", "--ignore-installed", "-r", str(REQUIREMENTS)]
        subprocess.run(command, env=environment(folder), check=True)
    return program


def run_suite(
    python: str, folder: Path, port: int, cases: list[str], reports: Path
) -> dict[str, Any]:
    """Run the cases; return the results by case."""
    spec = reports / "spec.json"
    spec.write_text(
        json.dumps({
            "outdir": str(reports),
            "servers": [{"agent": "djhookbox", "url": f"ws://127.0.0.1:{port}/ws"}],
            "cases": cases,
            "exclude-cases": list(COMPRESSION),
            "exclude-agent-cases": {},
        })
    )  # fmt: skip
    command = [python, str(install(python, folder)), "-m", "fuzzingclient", "-s", str(spec)]
    with open(reports / "log.txt", "w") as log:
        subprocess.run(
            command, env=environment(folder), stdout=log, stderr=log, cwd=reports, check=True
        )
    results: dict[str, Any] = json.loads((reports / "index.json").read_text())["djhookbox"]
    return results


def main() -> int:
    """Run the suite, print the counts and what did not pass; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.autobahn", description=__doc__)
    parser.add_argument("cases", nargs="*", default=["*"], help="cases, such as 6.*; all of them")
    parser.add_argument("--python", default="python2.7", help="Python 2.7 (python2.7)")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir(), "djhookbox-autobahn"),
        help="where the suite is installed",
    )  # fmt: skip
    parser.add_argument("--reports", type=Path, help="where to keep the reports")
    parser.add_argument("--serve", type=int, metavar="PORT", help="only serve echoes")
    options = parser.parse_args()
    if options.serve:
        new_loop().run_until_complete(serve(options.serve))
        return 0
    install(options.python, options.folder)
    with tempfile.TemporaryDirectory(prefix="autobahn") as temporary:
        reports = options.reports or Path(temporary)
        reports.mkdir(parents=True, exist_ok=True)
        port = free_port()
        with running(["bench.autobahn", "--serve", str(port)], port):
            results = run_suite(
                options.python, options.folder, port, options.cases, reports.resolve()
            )
    failed = {
        case: result
        for case, result in results.items()
        if result["behavior"] not in STRICT or result["behaviorClose"] not in STRICT
    }
    print(f"{len(results)} cases:", dict(Counter(each["behavior"] for each in results.values())))
    print("closing:", dict(Counter(each["behaviorClose"] for each in results.values())))
    for case, result in sorted(failed.items()):
        print(f"  {case}: {result['behavior']}, closing {result['behaviorClose']}")
    return int(bool(failed) or not results)


if __name__ == "__main__":
    sys.exit(main())
