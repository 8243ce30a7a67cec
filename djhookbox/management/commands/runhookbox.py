"""Run the Hookbox process: the only bridge from Django's settings to the server."""

from __future__ import annotations

import os
import shutil
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from djhookbox._version import __version__
from djhookbox.conf import settings
from djhookbox.conf.reading import shown
from djhookbox.conf.scaling import MAX_WORKERS
from djhookbox.exceptions import HookboxMisconfigured
from djhookbox.server.config import ConfigError, ServerConfig

from ...genuine import options as genuine
from ...process import control, reachability
from ...process.logfiles import UnusableFile, logging_set_up
from ...process.owner import OwnerWatch
from ...process.prefixing import prefixed
from ...workers.place import Options, take
from ...workers.running import supervise
from ...workers.supervisor import WorkersFailed
from ..advice import explain_os_error, warnings
from ..configuring import CALLBACKS, genuine_arguments, given, is_foreign, server_config

#: Variables that locate this Python's modules, which would break a program using another Python.
OWN_PYTHON = ("PYTHONPATH", "PYTHONHOME")

#: What to mention when a field of `ServerConfig` is invalid.
REMEDIES = {
    "interface": "-i/--interface, HOOKBOX_INTERFACE",
    "port": "-p/--port, HOOKBOX_PORT",
    "webhook_url": "--webhook-url, HOOKBOX_WEBHOOK_URL, or the --cb options",
    "single_url": "--cb-single-url",
    "engine": "--engine, HOOKBOX_ENGINE",
    "ca_file": "HOOKBOX_CA_FILE, REQUESTS_CA_BUNDLE, SSL_CERT_FILE",
    "polling_hosts": "--polling-host, HOOKBOX_POLLING_HOSTS",
    "allowed_origins": "--allow-origin, HOOKBOX_ALLOWED_ORIGINS",
}

LEVELS = ("debug", "info", "warning", "error")


class Command(BaseCommand):
    """Run the Hookbox process until it is stopped."""

    help = "Runs the Hookbox process, which browsers connect to. Ctrl-C or SIGTERM stops it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options of 2011, of the genuine server, and the new ones."""
        add = parser.add_argument
        add("-i", "--interface", help="Address to listen on (HOOKBOX_INTERFACE).")
        add("-p", "--port", type=int, help="Port to listen on (HOOKBOX_PORT).")
        add(
            "--engine", metavar="URL",
            help="Address of the Redis that several processes share (HOOKBOX_ENGINE).",
        )  # fmt: skip
        add("--webhook-url", help="URL that webhooks are sent to (HOOKBOX_WEBHOOK_URL).")
        add("--cbhost", help="Host that webhooks are sent to (HOOKBOX_CBHOST).")
        add("--cbport", type=int, help="Port that webhooks are sent to (HOOKBOX_CBPORT).")
        add("--cbpath", help="Path that webhooks are sent to (HOOKBOX_CBPATH).")
        for name in CALLBACKS:
            add(f"--cb-{name}", metavar="PATH", help=f"Path of the {name} webhook below cbpath.")
        add("--cb-single-url", metavar="URL", help="One absolute URL for all webhooks.")
        add(
            "-s", "--webhook-secret",
            help="Secret that is sent with each webhook (HOOKBOX_WEBHOOK_SECRET).",
        )  # fmt: skip
        add(
            "-r", "--rest-secret", "--api-security-token",
            help="Secret required by the REST API (HOOKBOX_REST_SECRET).",
        )  # fmt: skip
        add(
            "-a", "--admin-password",
            help="Console password for a program run with --executable (HOOKBOX_ADMIN_PASSWORD).",
        )  # fmt: skip
        add(
            "-e", "--executable",
            help="Program to run instead of the bundled server (HOOKBOX_EXECUTABLE).",
        )  # fmt: skip
        add(
            "--allow-origin", action="append", metavar="ORIGIN",
            help="Origin whose pages may connect; may be repeated (HOOKBOX_ALLOWED_ORIGINS).",
        )  # fmt: skip
        add(
            "--polling-host", action="append", metavar="HOST",
            help="Host that channels may poll; may be repeated (HOOKBOX_POLLING_HOSTS).",
        )  # fmt: skip
        add(
            "--jsonp", action="store_true",
            help="Let scripts written for the first Hookbox use CSP by GET (HOOKBOX_JSONP).",
        )  # fmt: skip
        add(
            "--rest-get", action="store_true",
            help="Accept 0.3.3's REST calls by GET, secret in the query (HOOKBOX_REST_GET).",
        )  # fmt: skip
        add(
            "--allow-set-config", action="store_true",
            help="Let set_config change where webhooks are sent (HOOKBOX_ALLOW_SET_CONFIG).",
        )  # fmt: skip
        add(
            "-L", "--log-level", type=str.lower, choices=LEVELS,
            help="Log level; the default is what LOGGING configures, or info.",
        )  # fmt: skip
        add(
            "-E", "--log-file-errors", metavar="FILE",
            help="File to which warnings and errors are also written.",
        )  # fmt: skip
        add(
            "-A", "--log-file-access", metavar="FILE",
            help="File to which a line is written for each connection.",
        )  # fmt: skip
        add(
            "-c", "--cookie-identifier", metavar="NAME",
            help="Not used; accepted for compatibility with Hookbox 0.3.3.",
        )  # fmt: skip
        add(
            "--owner", type=int, metavar="PID",
            help="Stop when the process with this id ends; used by runserver.",
        )  # fmt: skip
        add(
            "--workers", type=int, metavar="N",
            help="Number of processes that share the port; requires Redis (HOOKBOX_WORKERS).",
        )  # fmt: skip
        add("--worker", type=int, metavar="FD", help=SUPPRESS)  # set by the supervisor only
        add("--log-prefix", default="", metavar="TEXT", help="Text before each line of output.")
        add("-d", "--debug", action="store_true", help="Only with --executable.")
        add("-o", "--objgraph", type=int, metavar="SECONDS", help="Only with --executable.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the bundled server, or replace this process with another program.

        Raises:
            CommandError: An option is invalid; the text names it and the solution.

        """
        watch = None if options["owner"] is None else OwnerWatch(options["owner"])
        if watch is not None:
            watch.start()
        try:
            with prefixed(options["log_prefix"]):
                self._handle(options)
        finally:
            if watch is not None:
                watch.end()

    def _handle(self, options: Options) -> None:
        try:
            if options["worker"] is not None:
                self._work(options)
                return
            config = server_config(options)
            executable = options["executable"] or settings.executable
            password = options["admin_password"] or settings.admin_password
            for warning in warnings(config, options):
                self.stderr.write(self.style.WARNING(warning))
            if executable:
                for warning in (*genuine.withheld(options), genuine.secrets_in_sight(password)):
                    self.stderr.write(self.style.WARNING(warning))
                arguments = genuine_arguments(config, password) + genuine.extras(options)
                self._become(executable, config, arguments)
            else:
                self._run(config, options)
        except ConfigError as error:
            problem = f"{REMEDIES.get(error.name, f'HOOKBOX_{error.name.upper()}')}: {error}."
            raise CommandError(problem) from error
        except (HookboxMisconfigured, UnusableFile) as error:
            raise CommandError(str(error)) from error

    # ---- our server --------------------------------------------------------------------------

    def _run(self, config: ServerConfig, options: Options) -> None:
        # Imported late: `runhookbox --help` and --executable do not need aiohttp.
        from djhookbox.server import running
        from djhookbox.server.engine.base import Unusable
        from djhookbox.server.listening import listen_shared

        for problem in genuine.unusable(options):
            raise CommandError(problem)
        if options["admin_password"]:
            self._say(_("The bundled server has no console; -a is ignored."))
        if options["cookie_identifier"]:
            self._say(_("Webhooks carry all cookies, as with Hookbox 0.3.3; -c is ignored."))
        foreign = is_foreign(options)
        watch = reachability.WebhookWatch(
            config.shown(config.single_url or config.webhook_url),
            self._say,
            secret=None if foreign else config.webhook_secret,
            headers=config.webhook_headers,
            timeout=config.webhook_timeout,
        )

        workers = self._workers(config, options)

        def on_ready(address: str) -> None:
            text = _("Hookbox %(version)s is listening on %(address)s. Press Ctrl-C to stop it.")
            if workers > 1:
                text = _(
                    "Hookbox %(version)s is listening on %(address)s with %(workers)d workers. "
                    "Press Ctrl-C to stop them."
                )
            self._say(text % {"version": __version__, "address": address, "workers": workers})
            self._say(_("Webhooks are sent to %(url)s.") % {
                "url": config.shown(config.single_url or config.webhook_url),
            })  # fmt: skip
            self._say(_("Log: %(log)s.") % {"log": log})
            watch.start()

        files = options["log_file_errors"], options["log_file_access"]
        form = settings.log_format
        with logging_set_up(options["log_level"], *files, form=form) as log, control.holding_lock():
            try:
                if workers > 1:
                    supervise(
                        listen_shared(config.interface, config.port, workers),
                        options, config.grace_period, on_ready,
                    )  # fmt: skip
                else:
                    running.run(config, on_ready=on_ready)
            except WorkersFailed as error:
                raise CommandError(str(error)) from error
            except KeyboardInterrupt:
                pass  # only before the server has taken over the signals
            except OSError as error:
                raise CommandError(explain_os_error(error, config)) from error
            except Unusable as error:
                raise CommandError(str(error)) from error
            finally:
                watch.end()

    def _workers(self, config: ServerConfig, options: Options) -> int:
        count: int = given(options["workers"], lambda: settings.workers)
        name = "HOOKBOX_WORKERS" if options["workers"] is None else "--workers"
        if not 1 <= count <= MAX_WORKERS:
            raise CommandError(f"{name} must be between 1 and {MAX_WORKERS}, not {shown(count)}.")
        if count > 1 and config.engine == "memory":
            raise CommandError(
                _(
                    "%(name)s is %(count)d, but channels are kept in the memory of one process. "
                    "Set HOOKBOX_ENGINE to the address of a Redis server, or run one process."
                )
                % {"name": name, "count": count}
            )
        return count

    def _work(self, options: Options) -> None:
        """Serve as one of the workers of a supervisor."""
        from djhookbox.server import running
        from djhookbox.server.engine.base import Unusable

        try:
            place = take(options["worker"])
        except ValueError as error:
            raise CommandError(f"--worker: {error}.") from error
        options = {**options, **place.options}
        config = server_config(options)
        config = replace(
            config,
            worker=place.number,
            supervisor=place.supervisor,
            metrics_port=config.metrics_port and config.metrics_port + place.number - 1,
        )
        files = options["log_file_errors"], options["log_file_access"]
        with logging_set_up(options["log_level"], *files, form=settings.log_format):
            try:
                running.run(
                    config,
                    on_ready=lambda _address: place.ready(),
                    listener=place.listener,
                    lifeline=place.lifeline,
                    on_alive=place.alive,
                )
            except Unusable as error:
                raise CommandError(str(error)) from error

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()  # for files and pipes as well

    # ---- another program ---------------------------------------------------------------------

    def _become(self, executable: str, config: ServerConfig, arguments: Sequence[str]) -> None:
        """Replace this process, so that signals and the exit status are the program's."""
        program = shutil.which(executable)
        if program is None:
            raise CommandError(
                _(
                    "Cannot find the program “%(program)s”. Specify an executable with "
                    "--executable or HOOKBOX_EXECUTABLE, or omit both to run the bundled server."
                )
                % {"program": executable}
            )
        self._say(
            _("Running %(program)s on %(interface)s, port %(port)d; webhooks are sent to %(url)s.")
            % {
                "program": program,
                "interface": config.interface,
                "port": config.port,
                "url": config.shown(config.single_url or config.webhook_url),
            }
        )
        try:
            with control.holding_lock():  # the program inherits it
                environment = {k: v for k, v in os.environ.items() if k not in OWN_PYTHON}
                os.execve(program, [program, *arguments], environment)  # noqa: S606 - no shell
        except OSError as error:
            raise CommandError(
                _("%(program)s cannot be run: %(problem)s. See --executable, HOOKBOX_EXECUTABLE.")
                % {"program": program, "problem": error.strerror}
            ) from error
