"""Run the example site and its Hookbox process until Ctrl-C. `make demo` calls it.

Only the standard library is imported until it is certain that everything else is there.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
PACKAGES = ("django", "aiohttp", "requests", "model_utils", "djhookbox")
#: Seconds in which Django must answer, and in which it must end.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
POLL = 0.1

#: Set by Ctrl-C, SIGTERM or a closed terminal; looked at wherever the demo waits. An exception
#: in a signal handler could strike between the start of a process and the note of its number.
ending = threading.Event()


class DemoError(Exception):
    """Why the demo cannot go on: one sentence for whoever typed `make demo`."""


class Ended(Exception):
    """Somebody pressed Ctrl-C, or told the demo to end."""


def main() -> int:
    """Run the demo; return the exit status."""
    options = parse_options()
    try:
        check_python()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: ending.set())
        check_port(options.port, "--port")
        prepare(options)
        run(options.port)
    except DemoError as error:
        print(f"The demo cannot run: {error}", file=sys.stderr)
        return 1
    except Ended:
        print("The demo has ended.")
    return 0


def parse_options() -> argparse.Namespace:
    """Read the command line, and the environment where it says nothing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for option, variable, default, what in (
        ("--port", "DEMO_PORT", 8000, "the site"),
        ("--hookbox-port", "DEMO_HOOKBOX_PORT", 8001, "the Hookbox process"),
    ):
        parser.add_argument(
            option, type=port, default=os.environ.get(variable) or default,
            help=f"port of {what} (environment: {variable}; default: {default})",
        )  # fmt: skip
    options = parser.parse_args()
    if options.port == options.hookbox_port:
        parser.error("--port and --hookbox-port must differ.")
    return options


def port(text: str) -> int:
    """Return a port, as argparse wants it."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port between 1 and 65535")
    return int(text)


# ---- before anything runs ------------------------------------------------------------------------


def check_python() -> None:
    """Find out what this Python lacks, before half of the demo runs."""
    if sys.version_info < (3, 10):  # noqa: UP036 - whoever has an older one shall read this
        raise DemoError(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}.")
    for module, package in (("sqlite3", "SQLite"), ("ssl", "OpenSSL"), ("fcntl", "POSIX locks")):
        try:
            __import__(module)
        except ImportError:
            raise DemoError(
                f"this Python was built without {package} (module {module}); name another: "
                "make PYTHON=/path/to/python3 clean demo"
            ) from None
    sys.path.append(str(HERE.parent))  # in a clone djhookbox need not be installed
    for name in PACKAGES:
        try:
            __import__(name)
        except ImportError as error:
            raise DemoError(
                f"the package {error.name} is not installed; “make demo” installs it."
            ) from None


def check_port(number: int, option: str) -> None:
    """Find out whether somebody listens at a port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
        except OSError as error:
            problem = {
                errno.EADDRINUSE: "is taken by another program",
                errno.EACCES: "needs privileges",
            }.get(error.errno or 0, f"cannot be listened on ({error.strerror})")
            raise DemoError(
                f"port {number} {problem}; choose another one with make demo "
                f'ARGS="{option} {number + 10}".'
            ) from None


def prepare(options: argparse.Namespace) -> None:
    """Set Django up, and create what a new demo needs."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "demosite.settings"
    os.environ["DEMO_PORT"] = str(options.port)
    os.environ["DEMO_HOOKBOX_PORT"] = str(options.hookbox_port)
    import django
    from django.core.management import call_command
    from django.db import Error

    try:
        django.setup()
        # That Hookbox cannot be told of the new policy is no news: it is not running yet.
        logging.getLogger("djhookbox").addHandler(logging.NullHandler())
        from demosite import accounts

        from djhookbox.process import control

        print("Preparing the database.", flush=True)
        call_command("migrate", verbosity=0)
        accounts.create_accounts()
        accounts.create_policies()
        accounts.create_dishes()
    except (OSError, Error) as error:
        raise DemoError(f"its folder or database cannot be used: {error}.") from error
    if not control.status().ours:  # what an earlier demo left behind is replaced, see run()
        check_port(options.hookbox_port, "--hookbox-port")


# ---- running -------------------------------------------------------------------------------------


def run(site_port: int) -> None:
    """Start both processes, say where they are, and watch them."""
    from djhookbox.exceptions import HookboxError
    from djhookbox.process import control

    site = f"http://{HOST}:{site_port}"
    with django_server(site_port) as server:
        wait_for(lambda: answers(site), server)
        try:
            # An earlier demo that was killed has left its process behind, with older code.
            control.restart()
            go_on(server, 0)
            introduce(site)
            watch(server, site)
        except HookboxError as error:
            log = getattr(error, "log", "")
            raise DemoError(f"{error}\n{log}".strip()) from error
        finally:
            # Also if it was stopped and started in the admin: the lock says which one it is.
            if control.status().ours:
                control.stop()


@contextlib.contextmanager
def django_server(site_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run Django in a process group of its own, which Ctrl-C in the terminal does not reach."""
    from demosite.settings import DATA_DIR

    command = [sys.executable, "manage.py", "runserver", "--noreload", f"{HOST}:{site_port}"]
    with (DATA_DIR / "django.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "PYTHONUNBUFFERED": "1",
            },
            start_new_session=True,
        )  # fmt: skip
    try:
        yield server
    finally:
        stop_group(server)


def stop_group(server: subprocess.Popen[bytes]) -> None:
    """End a child and everything that it has started in its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_TIMEOUT)
            return


def answers(address: str) -> bool:
    """Tell whether an HTTP server answers, whatever it says."""
    try:
        # No proxy of the environment stands between this process and its own child.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"{address}/login/", timeout=START_TIMEOUT).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def wait_for(happened: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    """Wait until it happened, but not for a server that has ended, and not for ever."""
    deadline = time.monotonic() + START_TIMEOUT
    while not happened():
        go_on(server, POLL)
        if time.monotonic() > deadline:
            raise DemoError(f"Django has not answered.\n{django_log()}")


def go_on(server: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait; raise if the demo is to end, or with its last words if Django has ended by itself."""
    if ending.wait(seconds):
        raise Ended
    if server.poll() is not None:
        raise DemoError(f"Django has ended by itself. Its last lines:\n{django_log()}")


def django_log() -> str:
    """Return the last lines that Django has written."""
    from demosite.settings import DATA_DIR

    from djhookbox.process.spawning import tail

    return tail(DATA_DIR / "django.log", lines=12)


def introduce(site: str) -> None:
    """Say where everything is."""
    from demosite.accounts import ACCOUNTS
    from demosite.settings import DATA_DIR

    people = [account.name for account in ACCOUNTS if not account.staff]
    staff = [account.name for account in ACCOUNTS if account.staff]
    lines = (
        "",
        f"  Chat    {site}/chat/lobby/",
        f"          log in as {' or '.join(people)}; the password is the name.",
        "          For the second one open another browser, or a private window.",
        f"  News    {site}/news/today/",
        f"  Admin   {site}/admin/",
        f"          log in as {staff[0]}; the password is the name.",
        "",
        f"  Logs    {DATA_DIR}",
        "",
        "Ctrl-C ends everything.",
        "",
    )
    print("\n".join(lines), flush=True)


def watch(server: subprocess.Popen[bytes], site: str) -> None:
    """Report what happens to the processes. Hookbox may be stopped and started in the admin."""
    from djhookbox.process import control

    running = True
    while True:
        go_on(server, 1.0)
        if control.status().ours != running:
            running = not running
            if running:
                print("Hookbox runs again.", flush=True)
            else:
                last = "\n".join(f"    {line}" for line in control.log_tail().splitlines()[-3:])
                print(
                    f"Hookbox has ended; the admin can start it: {site}/admin/\n"
                    f"  Its last lines:\n{last}",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
