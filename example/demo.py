"""Run the example site and its Hookbox process until Ctrl-C. `make demo` calls this script.

It imports only the standard library until it knows that all other packages are installed.
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
PACKAGES = ("django", "aiohttp", "urllib3", "model_utils", "djhookbox")
#: Stands for a Redis server that the demo starts.
OWN = "own"
#: Seconds in which Django must start to answer, and in which it must stop.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
POLL = 0.1

#: Set by Ctrl-C, SIGTERM or a closed terminal, and checked wherever the demo waits. An exception
#: in a signal handler could occur after a process has started and before its pid is stored.
ending = threading.Event()


class DemoError(Exception):
    """The demo cannot continue; the message explains why to the user of `make demo`."""


class Ended(Exception):
    """The user pressed Ctrl-C, or the demo received a signal to stop."""


def main() -> int:
    """Run the demo; return the exit status."""
    options = parse_options()
    try:
        check_python()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: ending.set())
        check_port(options.port, "--port")
        with engine(options) as address:
            os.environ["DEMO_ENGINE"] = address
            os.environ["DEMO_WORKERS"] = str(options.workers)
            prepare(options)
            with only_demo(options.hookbox_port):
                run(options.port)
    except DemoError as error:
        print(f"The demo cannot run: {error}", file=sys.stderr)
        return 1
    except Ended:
        print("The demo has stopped.")
    return 0


def parse_options() -> argparse.Namespace:
    """Parse the command line; the environment provides the defaults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for option, variable, default, what in (
        ("--port", "DEMO_PORT", 8000, "the site"),
        ("--hookbox-port", "DEMO_HOOKBOX_PORT", None, "the Hookbox process"),
    ):
        shown = "the one after --port" if default is None else default
        parser.add_argument(
            option, type=port, default=os.environ.get(variable) or default,
            help=f"port of {what} (environment: {variable}; default: {shown})",
        )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N",
        help="number of Hookbox processes; more than one requires --redis",
    )  # fmt: skip
    parser.add_argument(
        "--redis", nargs="?", const=OWN, default="", metavar="URL",
        help="share channels through Redis at this URL, or through one that the demo starts",
    )  # fmt: skip
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("--workers must be at least 1.")
    if options.workers > 1 and not options.redis:
        parser.error("--workers requires --redis.")
    if options.hookbox_port is None:  # so that two demos differ in both
        options.hookbox_port = options.port + 1 if options.port < 65_535 else options.port - 1
    if options.port == options.hookbox_port:
        parser.error("--port and --hookbox-port must differ.")
    return options


@contextlib.contextmanager
def engine(options: argparse.Namespace) -> Iterator[str]:
    """Provide the value of HOOKBOX_ENGINE.

    Raises:
        DemoError: Redis cannot be used.

    """
    if not options.redis:
        yield "memory"
        return
    try:
        __import__("redis")
    except ImportError:
        raise DemoError(
            "the Redis client is not installed. Run “make demo” with --redis in ARGS to install it."
        ) from None
    if options.redis != OWN:
        yield options.redis
        return
    from redis_for_demo import NoRedis, own_redis

    with contextlib.ExitStack() as stack:
        try:
            address = stack.enter_context(own_redis())
        except NoRedis as problem:
            raise DemoError(str(problem)) from None
        yield address


def port(text: str) -> int:
    """Convert an argument to a port number."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 1 and 65535")
    return int(text)


# ---- before anything runs ------------------------------------------------------------------------


def check_python() -> None:
    """Check that this Python has everything that the demo requires.

    Raises:
        DemoError: Something is missing.

    """
    if sys.version_info < (3, 10):  # noqa: UP036 - so that users of older versions see the message
        raise DemoError(f"it requires Python 3.10 or newer; this is {sys.version.split()[0]}.")
    for module, package in (("sqlite3", "SQLite"), ("ssl", "OpenSSL"), ("fcntl", "POSIX locks")):
        try:
            __import__(module)
        except ImportError:
            raise DemoError(
                f"this Python was built without {package} (module {module}). "
                "Use another one: make PYTHON=/path/to/python3 clean demo"
            ) from None
    sys.path.append(str(HERE.parent))  # in a clone, djhookbox does not have to be installed
    for name in PACKAGES:
        try:
            __import__(name)
        except ImportError as error:
            raise DemoError(
                f"the package {error.name} is not installed. Run “make demo” to install it."
            ) from None


def check_port(number: int, option: str) -> None:
    """Check that no other program listens on a port.

    Raises:
        DemoError: The port cannot be used.

    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
        except OSError as error:
            problem = {
                errno.EADDRINUSE: "is in use by another program",
                errno.EACCES: "requires privileges",
            }.get(error.errno or 0, f"cannot be used ({error.strerror})")
            raise DemoError(
                f"port {number} {problem}. Choose another one: make demo "
                f'ARGS="{option} {number + 10}".'
            ) from None


def prepare(options: argparse.Namespace) -> None:
    """Set up Django, and create the database, accounts and policies of a new demo."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "demosite.settings"
    os.environ["DEMO_PORT"] = str(options.port)
    os.environ["DEMO_HOOKBOX_PORT"] = str(options.hookbox_port)
    import django
    from django.core.management import call_command
    from django.db import Error

    try:
        django.setup()
        # Hookbox is not running yet, so the warnings that it cannot be notified of new policies
        # are not useful.
        logging.getLogger("djhookbox").addHandler(logging.NullHandler())
        from demosite import accounts

        from djhookbox.process import control

        print("Preparing the database.", flush=True)
        call_command("migrate", verbosity=0)
        accounts.create_all()
    except (OSError, Error) as error:
        raise DemoError(f"its folder or database cannot be used: {error}.") from error
    if not control.status().identified:  # run() replaces the process of an earlier demo
        check_port(options.hookbox_port, "--hookbox-port")


# ---- running -------------------------------------------------------------------------------------


@contextlib.contextmanager
def only_demo(hookbox_port: int) -> Iterator[None]:
    """Hold a lock, so that this demo does not restart the process of another one.

    Raises:
        DemoError: Another demo is running with this port.

    """
    from demosite.settings import HOOKBOX_RUN_DIR

    from djhookbox.process.lockfile import LockFile, ensure_run_dir

    try:
        ensure_run_dir(HOOKBOX_RUN_DIR)
        lock = LockFile(HOOKBOX_RUN_DIR / "demo.lock")
        held = lock.acquire()
    except OSError as error:
        raise DemoError(f"its folder cannot be used: {error}.") from error
    if not held:
        raise DemoError(
            f"another demo is running with port {hookbox_port} for its Hookbox process. Choose "
            f'another one: make demo ARGS="--port {hookbox_port + 9}".'
        )
    try:
        yield
    finally:
        lock.close()


def run(site_port: int) -> None:
    """Start both processes, print their addresses, and watch them."""
    from djhookbox.exceptions import HookboxError
    from djhookbox.process import control

    site = f"http://{HOST}:{site_port}"
    with django_server(site_port) as server:
        wait_for(lambda: answers(site), server)
        try:
            # If an earlier demo was killed, its process is still running, perhaps with older code.
            control.restart()
            go_on(server, 0)
            introduce(site)
            watch(server, site)
        except HookboxError as error:
            log = getattr(error, "log", "")
            raise DemoError(f"{error}\n{log}".strip()) from error
        finally:
            # This includes a process that was started in the admin: the lock file identifies it.
            if control.status().identified:
                control.stop()


@contextlib.contextmanager
def django_server(site_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run Django in its own process group, so that Ctrl-C in the terminal does not reach it."""
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
    """Stop a child process and everything in its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_TIMEOUT)
            return


def answers(address: str) -> bool:
    """Return whether an HTTP server answers, with any status."""
    try:
        # Proxies from the environment must not be used between this process and its child.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"{address}/login/", timeout=START_TIMEOUT).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def wait_for(happened: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    """Wait until a condition is true.

    Raises:
        DemoError: The server has stopped, or the wait has timed out.

    """
    deadline = time.monotonic() + START_TIMEOUT
    while not happened():
        go_on(server, POLL)
        if time.monotonic() > deadline:
            raise DemoError(f"Django does not answer. Its last lines:\n{django_log()}")


def go_on(server: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for some seconds.

    Raises:
        Ended: The demo must stop.
        DemoError: Django has stopped; the message contains the end of its log.

    """
    if ending.wait(seconds):
        raise Ended
    if server.poll() is not None:
        raise DemoError(f"Django has stopped unexpectedly. Its last lines:\n{django_log()}")


def django_log() -> str:
    """Return the last lines of Django's log."""
    from demosite.settings import DATA_DIR

    from djhookbox.process.spawning import tail

    return tail(DATA_DIR / "django.log", lines=12)


def introduce(site: str) -> None:
    """Print the addresses and accounts."""
    from demosite.accounts import ACCOUNTS
    from demosite.settings import DATA_DIR

    people = [account.name for account in ACCOUNTS if not account.staff]
    staff = [account.name for account in ACCOUNTS if account.staff]
    lines = (
        "",
        f"  Chat    {site}/chat/lobby/",
        f"          log in as {' or '.join(people)}; the password is the name.",
        "          For the second user, open another browser or a private window.",
        f"  News    {site}/news/today/",
        f"  Admin   {site}/admin/",
        f"          log in as {staff[0]}; the password is the name.",
        "",
        f"  Logs    {DATA_DIR}",
        "",
        "Press Ctrl-C to stop everything.",
        "",
    )
    print("\n".join(lines), flush=True)


def watch(server: subprocess.Popen[bytes], site: str) -> None:
    """Report when Hookbox is stopped or started, which is possible in the admin."""
    from djhookbox.process import control

    running = True
    while True:
        go_on(server, 1.0)
        if control.status().identified != running:
            running = not running
            if running:
                print("Hookbox is running again.", flush=True)
            else:
                last = "\n".join(f"    {line}" for line in control.log_tail().splitlines()[-3:])
                print(
                    f"Hookbox has stopped. You can start it in the admin: {site}/admin/\n"
                    f"  Its last lines:\n{last}",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
