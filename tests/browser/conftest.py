"""A browser, and the demo as `make demo` runs it."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from .. import forks
from ..needs import need
from ..ports import free_port
from ..projects import answers
from ..stand_ins.waiting import PATIENCE, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent

# A busy machine takes its time.
expect.set_options(timeout=PATIENCE * 1000)


#: Pages live for a second or two: optimizing their scripts costs more than it saves, and so does
#: collecting garbage in several threads. Root cannot use the sandbox.
FLAGS = ["--no-sandbox", "--js-flags=--no-opt --no-maglev --single-threaded-gc"]


# Not for the session: while it lives, Django takes the main thread for an asynchronous one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start headless Chromium, the system's or Playwright's own."""
    # The first one is Chromium without windows, which costs half as much.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        path = executable or playwright.chromium.executable_path
        need(
            Path(path).exists(),
            "there is no Chromium: install it, or run “playwright install chromium”",
        )
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Demo:
    """`example/demo.py`, running in its own folder.

    Args:
        folder: The folder, which does not exist yet.
        prepared: The folder of a demo whose database has been prepared, to begin with.

    """

    process: subprocess.Popen[bytes] | forks.Forked

    def __init__(self, folder: Path, prepared: Path | None = None) -> None:
        if prepared is None:
            folder.mkdir()
        else:
            shutil.copytree(prepared, folder)
        self.folder = folder
        self.port, self.hookbox_port = free_port(), free_port()
        self.site = f"http://127.0.0.1:{self.port}"
        self._output = folder / "output"

    @property
    def environment(self) -> dict[str, str]:
        others = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DEMO_", "DJANGO_", "HOOKBOX_"))
        }
        return others | {
            "DEMO_DIR": str(self.folder),
            "DEMO_PORT": str(self.port),
            "DEMO_HOOKBOX_PORT": str(self.hookbox_port),
        }

    def manage(self, *arguments: str) -> None:
        """Run a command of the example site."""
        command = [str(ROOT / "example" / "manage.py"), *arguments]
        result = forks.shared().run(command, environment=self.environment, timeout=2 * PATIENCE)
        assert result.returncode == 0, result.stdout + result.stderr

    def start(self, *arguments: str) -> None:
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "example" / "demo.py"), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_until_it_runs(self) -> None:
        def runs() -> bool:
            assert self.process.poll() is None, self.output
            return "Press Ctrl-C to stop everything." in self.output

        wait_for(runs, "the demo to run", 3 * PATIENCE)

    def end(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(2 * PATIENCE)

    def processes(self) -> list[int]:
        """Find the processes of this demo, whoever started them and however detached."""
        mark = f"DEMO_DIR={self.folder}\0".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes() + b"\0":
                    found.append(int(entry.name))
            except OSError:
                continue  # it has just ended, or is somebody else's
        return found

    def assert_nothing_is_left(self) -> None:
        wait_for(lambda: not self.processes(), "all processes to end")
        for port in (self.port, self.hookbox_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))

    def clean_up(self) -> None:
        """Leave nothing behind, even if the demo itself is broken."""
        try:
            self.end()
        finally:
            self.process.kill()
            self.process.wait()
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)


class ForkedDemo(Demo):
    """The same script, begun without waiting for its imports."""

    process: forks.Forked

    def start(self, *arguments: str) -> None:
        self._output.write_bytes(b"")
        script = str(ROOT / "example" / "demo.py")
        self.process = forks.shared().start(
            [script, *arguments], self._output, environment=self.environment
        )

    def processes(self) -> list[int]:
        # The system shows the environment in which a process began: here that of its server.
        own = [self.process.pid] if self.process.poll() is None else []
        return [*own, *super().processes()]


class Site(Demo):
    """The site of the demo and its Hookbox process, without the script that watches them."""

    def __init__(self, folder: Path, prepared: Path) -> None:
        super().__init__(folder, prepared)
        self._processes: list[forks.Forked] = []

    def start(self, *arguments: str) -> None:
        manage = str(ROOT / "example" / "manage.py")
        for command in (["runserver", "--noreload", f"127.0.0.1:{self.port}"], ["runhookbox"]):
            process = forks.shared().start(
                [manage, *command], self._output,
                environment={**self.environment, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            self._processes.append(process)

    def wait_until_it_runs(self) -> None:
        def runs() -> bool:
            assert [each.poll() for each in self._processes] == [None, None], self.output
            addresses = (f"{self.site}/login/", f"http://127.0.0.1:{self.hookbox_port}/health")
            return all(answers(address) for address in addresses)

        wait_for(runs, "the site to run", 3 * PATIENCE)

    def clean_up(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for pid in self.processes():  # one that was started in the admin
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare the database of a demo."""
    demo = Demo(tmp_path_factory.mktemp("prepared") / "data")
    demo.manage("migrate", "-v0")
    demo.manage("shell", "-v0", "-c", "from demosite import accounts; accounts.create_all()")
    return demo.folder


@pytest.fixture(scope="module")
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demo]:
    """Run one demo for all tests of a module; without its script, which only `test_demo` needs."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    # Coverage measures no process that is forked.
    is_whole = getattr(request.module, "WHOLE_DEMO", False) or not forks.is_possible()
    demo = Demo(folder) if is_whole else Site(folder, request.getfixturevalue("prepared"))
    try:
        demo.start()
        demo.wait_until_it_runs()
        yield demo
    finally:
        demo.clean_up()


def sign_in(page: Page, site: str, user: str) -> None:
    """Sign in to the demo as one of its users; `test_demo` does it by the form."""
    request = page.context.request
    request.get(f"{site}/login/", max_redirects=0)
    (token,) = [each["value"] for each in page.context.cookies() if "csrf" in each["name"]]
    form = {"username": user, "password": user, "csrfmiddlewaretoken": token}
    answer = request.post(f"{site}/login/", form=form, max_redirects=0)
    assert answer.status == 302, answer.text()


def restrict(page: Page, addresses: str, policy: str) -> list[str]:
    """Send documents with a Content Security Policy; return what the browser says of it.

    The list grows. Unlike `Page.route`, this leaves the cache of the browser as it is, and other
    requests alone.

    Args:
        page: The page that opens the documents.
        addresses: Which documents; `*` stands for anything.
        policy: The policy.

    """
    tools = page.context.new_cdp_session(page)

    def answer(event: dict[str, Any]) -> None:
        request = {"requestId": event["requestId"]}
        status = event.get("responseStatusCode", 0)
        if status < 200 or status in range(300, 400):  # it failed, or has no body
            tools.send("Fetch.continueResponse", request)
            return
        body = tools.send("Fetch.getResponseBody", request)
        given = body["body"]
        if not body["base64Encoded"]:
            given = base64.b64encode(given.encode()).decode()
        headers = [
            *event["responseHeaders"], {"name": "Content-Security-Policy", "value": policy},
        ]  # fmt: skip
        # Chromium does not read the policy anew where only headers are exchanged.
        answer = {"responseCode": status, "responseHeaders": headers, "body": given}
        tools.send("Fetch.fulfillRequest", request | answer)

    tools.on("Fetch.requestPaused", answer)
    pattern = {"urlPattern": addresses, "resourceType": "Document", "requestStage": "Response"}
    tools.send("Fetch.enable", {"patterns": [pattern]})
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            complaints.append(message.text)

    page.on("console", listen)
    return complaints


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address in a browser of its own, as a user of the demo or as nobody."""
    contexts = []
    problems: list[str] = []

    def open_page(address: str, user: str = "") -> Page:
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        if user:
            sign_in(page, "/".join(address.split("/")[:3]), user)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            # A page that asks from time to time may be in the middle of it when the test ends.
            page.unroute_all(behavior="ignoreErrors")
        context.close()
    assert problems == []
