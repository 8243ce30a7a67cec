"""Run the Hookbox process: the only bridge from Django's settings to the server."""

from __future__ import annotations

import os
import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from djhookbox import certificates
from djhookbox._version import __version__
from djhookbox.conf import bracketed, settings
from djhookbox.conf.reading import is_unix, split_unix
from djhookbox.exceptions import HookboxMisconfigured
from djhookbox.server.config import ConfigError, ServerConfig
from djhookbox.wire import webhooks

from ...batches.rule import accepted
from ...genuine import options as genuine
from ...process import control, reachability
from ...process.logfiles import UnusableFile, logging_set_up
from ...process.owner import OwnerWatch
from ...process.prefixing import prefixed
from ..advice import Options, explain_os_error, warnings

#: The webhooks whose paths the genuine server can be configured with.
CALLBACKS = tuple(webhook.name for webhook in webhooks.HOOKBOX)

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
            help="Program to run instead of the embedded server (HOOKBOX_EXECUTABLE).",
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
        add("--log-prefix", default="", metavar="TEXT", help="Text before each line of output.")
        add("-d", "--debug", action="store_true", help="Only with --executable.")
        add("-o", "--objgraph", type=int, metavar="SECONDS", help="Only with --executable.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the embedded server, or replace this process with another program.

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

        for problem in genuine.unusable(options):
            raise CommandError(problem)
        if options["admin_password"]:
            self._say(_("The embedded server has no console; -a is ignored."))
        if options["cookie_identifier"]:
            self._say(_("Webhooks carry all cookies, as with Hookbox 0.3.3; -c is ignored."))
        foreign = _foreign(options)
        watch = reachability.WebhookWatch(
            config.shown(config.single_url or config.webhook_url),
            self._say,
            secret=None if foreign else config.webhook_secret,
            headers=config.webhook_headers,
            timeout=config.webhook_timeout,
        )

        def on_ready(address: str) -> None:
            self._say(
                _("Hookbox %(version)s is listening on %(address)s. Press Ctrl-C to stop it.")
                % {"version": __version__, "address": address}
            )
            self._say(_("Webhooks are sent to %(url)s.") % {
                "url": config.shown(config.single_url or config.webhook_url),
            })  # fmt: skip
            self._say(_("Log: %(log)s.") % {"log": log})
            watch.start()

        files = options["log_file_errors"], options["log_file_access"]
        form = settings.log_format
        with logging_set_up(options["log_level"], *files, form=form) as log, control.holding_lock():
            try:
                running.run(config, on_ready=on_ready)
            except KeyboardInterrupt:
                pass  # only before the server has taken over the signals
            except OSError as error:
                raise CommandError(explain_os_error(error, config)) from error
            except Unusable as error:
                raise CommandError(str(error)) from error
            finally:
                watch.end()

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
                    "Cannot find the program “%(program)s”. Name an executable with --executable "
                    "or HOOKBOX_EXECUTABLE, or omit both to run the embedded server."
                )
                % {"program": executable}
            )
        self._say(
            _("Running %(program)s on %(interface)s, port %(port)d; webhooks are sent to %(url)s.")
            % {
                "program": program,
                "interface": config.interface,
                "port": config.port,
                "url": config.single_url or config.webhook_url,
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


# ---- settings and options → ServerConfig ---------------------------------------------------------


#: Settings that the server takes as they are.
_SAME = (
    "webhook_headers", "allowed_hosts", "trusted_proxies", "webhook_timeout",
    "webhook_concurrency", "max_frame_size", "max_payload_size", "max_name_length",
    "max_channels_per_connection", "max_channels", "max_subscriptions", "max_connections",
    "max_unconnected",
    "max_unconnected_per_address", "connect_timeout", "max_unsent", "max_unsent_total",
    "max_incoming", "max_channel_history", "max_history", "max_channel_state", "max_state",
    "max_answer_bytes", "max_rest_bytes", "max_cookie_bytes",
    "max_frames_per_second", "ping_interval",
    "grace_period", "durable_seconds", "recovery_seconds", "revalidate_seconds", "metrics_port",
    "metrics_interface",
)  # fmt: skip


def server_config(options: Options) -> ServerConfig:
    """Return the configuration from the settings and the command line.

    Raises:
        ConfigError: A value is invalid.
        HookboxMisconfigured: A setting is invalid.
        CommandError: Options contradict each other.

    """
    webhook_url = _webhook_url(options)
    single_url = options["cb_single_url"] or ""
    secure = (single_url or webhook_url).startswith("https:")
    webhook_socket, webhook_url = _through_socket("webhook_url", webhook_url)
    if single_url:
        webhook_socket, single_url = _through_socket("single_url", single_url)
    return ServerConfig(
        interface=_given(options["interface"], lambda: settings.interface),
        port=_given(options["port"], lambda: settings.port),
        engine=_given(options["engine"], lambda: settings.engine),
        webhook_url=webhook_url,
        webhook_socket=webhook_socket,
        webhook_paths={
            name: options[f"cb_{name}"].lstrip("/")
            for name in CALLBACKS
            if options[f"cb_{name}"] is not None
        },
        single_url=single_url,
        webhook_secret=options["webhook_secret"] or settings.webhook_secrets[0],
        rest_secrets=(options["rest_secret"],) if options["rest_secret"] else settings.rest_secrets,
        allowed_origins=_allowed_origins(options["allow_origin"]),
        jsonp=options["jsonp"] or settings.jsonp,
        rest_get=options["rest_get"] or settings.rest_get,
        allow_set_config=options["allow_set_config"] or settings.allow_set_config,
        polling_hosts=(*settings.polling_hosts, *(options["polling_host"] or ())),
        ca_file=(certificates.ca_path() or "") if secure else "",
        # What an application accepts is only known for this site.
        webhook_accepts=frozenset() if _foreign(options) else frozenset(accepted()),
        run_dir=str(settings.run_dir),
        tell_delivered=settings.debug,
        **{name: getattr(settings, name) for name in _SAME},
        version=__version__,
    )


def _through_socket(name: str, url: str) -> tuple[str, str]:
    """Return the Unix socket of a URL, or "", and the URL to request."""
    if not is_unix(url):
        return "", url
    try:
        path, target = split_unix(url)
    except ValueError as error:
        raise ConfigError(name, f"{error}, not {url!r}") from None
    return path, f"http://{bracketed(settings.unix_host)}{target}"


def _webhook_url(options: Options) -> str:
    host, port, path = options["cbhost"], options["cbport"], options["cbpath"]
    parts_given = [name for name in ("cbhost", "cbport", "cbpath") if options[name] is not None]
    if options["webhook_url"]:
        if parts_given:
            raise CommandError(
                f"--webhook-url already contains all of it; remove --{parts_given[0]}."
            )
        return str(options["webhook_url"]).rstrip("/")
    if not parts_given:
        return settings.webhook_url
    if port is not None and not 0 < port < 65_536:
        raise CommandError(f"--cbport must be a port between 1 and 65535, not {port}.")
    if path and not path.startswith("/"):
        raise CommandError(f"--cbpath must start with a slash, not {path!r}.")
    configured = urlsplit(settings.webhook_url)
    if is_unix(settings.webhook_url):  # only its path is used together with a host or a port
        configured = SplitResult(
            "http", f"{bracketed(settings.cbhost)}:{settings.cbport}", settings.webhook_path, "", ""
        )
    netloc = bracketed(host or configured.hostname or "")
    port = port or configured.port
    if port:
        netloc = f"{netloc}:{port}"
    path = configured.path if path is None else path.rstrip("/")
    return SplitResult(configured.scheme, netloc, path, "", "").geturl()


def _allowed_origins(given: Sequence[str] | None) -> tuple[str, ...]:
    if not given:
        return settings.allowed_origins
    for origin in given:
        if "://" not in origin or origin.endswith("://*"):
            raise CommandError(
                "--allow-origin needs a scheme and a host, such as https://example.com, not "
                f"{origin!r}."
            )
    return tuple(origin.rstrip("/") for origin in given)


def _given(option: Any, setting: Any) -> Any:
    # A setting that the command line overrides is not read: it may be invalid.
    return setting() if option is None else option


def _foreign(options: Options) -> bool:
    """Return whether the options may send webhooks to another application than this site."""
    if options["owner"] is not None:
        return False  # this very site has started the process
    names = ("webhook_url", "cbhost", "cbport", "cbpath", "cb_single_url", "webhook_secret")
    return any(
        options[name] is not None for name in (*names, *(f"cb_{name}" for name in CALLBACKS))
    )


def genuine_arguments(config: ServerConfig, password: str | None) -> list[str]:
    """Return the command line for the genuine server.

    Raises:
        ConfigError: It cannot send webhooks to the URL.

    """
    url = urlsplit(config.webhook_url)
    if url.scheme != "http" or config.webhook_socket:
        raise ConfigError("webhook_url", "must start with http:// for this program")
    arguments = [
        "-i", config.interface,
        "-p", str(config.port),
        "--cbhost", url.hostname or "",
        "--cbport", str(url.port or 80),
        "--cbpath", url.path,
        "-s", config.webhook_secret,
        "-r", config.rest_secrets[0],
    ]  # fmt: skip
    if password:
        arguments += ["-a", password]
    for name, path in config.webhook_paths.items():
        if name != genuine.LATER_CALLBACK:
            arguments += [f"--cb-{name}", path]
    if config.single_url:
        arguments += ["--cb-single-url", config.single_url]
    return arguments
