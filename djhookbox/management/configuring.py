"""The configuration of the server, and of a genuine one, from the settings and the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.core.management.base import CommandError

from djhookbox import certificates
from djhookbox._version import __version__
from djhookbox.conf import settings
from djhookbox.server.config import ConfigError, ServerConfig
from djhookbox.wire import capabilities, webhooks
from djhookbox.wire.urls import bracketed, is_unix, split_unix
from djhookbox.workers.place import Options

from ..batches.rule import accepted
from ..genuine import options as genuine

#: The webhooks whose paths the genuine server can be configured with.
CALLBACKS = tuple(webhook.name for webhook in webhooks.HOOKBOX)

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
    "metrics_interface", "node_url", "log_sample", "tracing",
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
        interface=given(options["interface"], lambda: settings.interface),
        port=given(options["port"], lambda: settings.port),
        engine=given(options["engine"], lambda: settings.engine),
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
        webhook_accepts=frozenset() if is_foreign(options) else _accepted(),
        run_dir=str(settings.run_dir),
        tell_delivered=settings.debug,
        **{name: getattr(settings, name) for name in _SAME},
        version=__version__,
    )


def _accepted() -> frozenset[str]:
    """Return what this site accepts, if this process knows it.

    Handlers are often registered next to views, which only processes with requests import. The
    first webhook tells whether there are any.
    """
    return frozenset(accepted()) - {capabilities.LEAVING}


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


def _allowed_origins(origins: Sequence[str] | None) -> tuple[str, ...]:
    if not origins:
        return settings.allowed_origins
    for origin in origins:
        if "://" not in origin or origin.endswith("://*"):
            raise CommandError(
                "--allow-origin needs a scheme and a host, such as https://example.com, not "
                f"{origin!r}."
            )
    return tuple(origin.rstrip("/") for origin in origins)


def given(option: object, setting: Callable[[], Any]) -> Any:
    """Return an option, or the setting if the option is None.

    A setting that the command line overrides is not read: it may be invalid.
    """
    return setting() if option is None else option


def is_foreign(options: Options) -> bool:
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
