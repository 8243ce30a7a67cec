"""`runhookbox` in a process of its own, forked from one that has imported everything already.

A start is almost entirely importing and checking the site, which tests that start a hundred servers
can share.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from multiprocessing.context import ForkServerProcess

from django.core import checks
from django.core.management import execute_from_command_line

if os.environ.get("HOOKBOX_TEST_FORKED"):
    import django

    django.setup()
    import djhookbox.management.commands.runhookbox
    import djhookbox.server.app
    import djhookbox.server.running  # noqa: F401

    # The checks of each process find the routes, templates and expressions of this one.
    checks.run_checks()
    gc.collect()
    gc.freeze()


def _runhookbox(arguments: list[str], log: str) -> None:
    """Be the process that `manage.py runhookbox` is; runs in the child."""
    os.setsid()
    with open(log, "ab") as output:
        for number in (1, 2):
            os.dup2(output.fileno(), number)
    execute_from_command_line(["manage.py", "runhookbox", *arguments])


def runhookbox(arguments: list[str], log: str) -> ForkServerProcess:
    """Start a server that prints to a log.

    The process that is forked starts with the environment of the first call, where
    `HOOKBOX_TEST_FORKED` has to be set, and ends with the tests.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_runhookbox, args=(arguments, log), daemon=True)
    process.start()
    return process
