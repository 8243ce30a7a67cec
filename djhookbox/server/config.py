"""The configuration of the server, validated once."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from ..wire import webhooks
from ..wire.hosts import HostProblem, HostRules
from ..wire.urls import UNIX_SCHEME, bracketed, is_absolute, port_of, without_password
from ..wire.values import JSONObject

#: The webhooks and their paths below the webhook URL, unless options say otherwise.
WEBHOOKS = tuple(webhook.name for webhook in webhooks.ALL)


class ConfigError(ValueError):
    """A configuration value that the server cannot use.

    Attributes:
        name: The field of `ServerConfig` that is wrong.

    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.name} {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The configuration of the server. Sizes are in bytes, times in seconds."""

    interface: str = "127.0.0.1"
    port: int = 8001
    #: Base URL of webhooks: an absolute URL without a trailing slash.
    webhook_url: str = "http://127.0.0.1:8000/hookbox"
    #: Path of the Unix socket that the site listens on; `webhook_url` provides the rest.
    webhook_socket: str = ""
    #: Paths below `webhook_url` that differ from the webhook's name.
    webhook_paths: dict[str, str] = field(default_factory=dict)
    #: Headers sent with each webhook in addition to those of the protocol.
    webhook_headers: dict[str, str] = field(default_factory=dict)
    #: One absolute URL for all webhooks, if set (`--cb-single-url`).
    single_url: str = ""
    #: Sent as `secret` in each webhook, if set.
    webhook_secret: str = ""
    #: Secrets accepted by the REST API; without any, it is closed.
    rest_secrets: tuple[str, ...] = ()
    #: Whether calls of 0.3.3 may use GET, with the secret in the query.
    rest_get: bool = False
    #: Whether set_config may change the webhook URLs.
    allow_set_config: bool = False
    #: Origins, or host patterns, of pages that may connect.
    allowed_origins: tuple[str, ...] = ()
    #: Host names, in addition to those of the origins, IP addresses and localhost, that clients
    #: without an Origin may use to reach the server; `*` allows all.
    allowed_hosts: tuple[str, ...] = ()
    #: Whether scripts of pages written for 0.3.3 may use CSP over GET (JSONP).
    jsonp: bool = False
    #: Peers whose X-Forwarded-For is trusted: addresses and ranges such as 10.0.0.0/8.
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    #: PEM file or folder of the authorities trusted for https webhooks; "" uses the default ones.
    ca_file: str = ""
    #: Hosts that channels may poll: names, `.domains`, addresses and ranges.
    polling_hosts: tuple[str, ...] = ()
    webhook_timeout: float = 5.0
    webhook_concurrency: int = 32
    #: What the site is assumed to accept before it has reported it; see `wire.capabilities`.
    webhook_accepts: frozenset[str] = frozenset()
    max_frame_size: int = 262_144
    #: Maximum size of the JSON in one field of a REST call.
    max_payload_size: int = 4_194_304
    max_name_length: int = 255
    max_channels_per_connection: int = 256
    max_channels: int = 100_000
    max_subscriptions: int = 500_000
    max_connections: int = 50_000
    #: Maximum number of connections without CONNECT, and of sockets without a request.
    max_unconnected: int = 2000
    #: Maximum number of each from one address, unless it is a trusted proxy.
    max_unconnected_per_address: int = 100
    #: How long each may take.
    connect_timeout: float = 10.0
    max_unsent: int = 1_048_576
    #: The same for all clients in total.
    max_unsent_total: int = 134_217_728
    #: Bytes that clients have sent and the server has not handled yet, in total.
    max_incoming: int = 67_108_864
    #: Memory for the history of one channel, and for those of all channels.
    max_channel_history: int = 8_388_608
    max_history: int = 67_108_864
    #: The same for the states of channels; larger ones are refused.
    max_channel_state: int = 8_388_608
    max_state: int = 67_108_864
    #: Bytes of webhook answers, and of REST calls, that are being received or handled.
    max_answer_bytes: int = 67_108_864
    max_rest_bytes: int = 67_108_864
    #: Bytes of cookies of all connections.
    max_cookie_bytes: int = 134_217_728
    max_frames_per_second: int = 1000
    #: Events to keep while Django does not accept them; the oldest are dropped and counted.
    max_events: int = 100_000
    ping_interval: float = 25.0
    #: Maximum time from SIGTERM to exit.
    grace_period: float = 10.0
    #: How long the history of a channel is kept after its last subscriber leaves.
    history_linger: float = 300.0
    #: For how long publications to durable channels are kept for returning clients.
    durable_seconds: float = 86_400.0
    #: The same for other channels, whether or not they have a history; 0 for not at all.
    recovery_seconds: float = 60.0
    #: Within this time, each connection's session and account are confirmed; 0 for never.
    revalidate_seconds: float = 600.0
    #: Whether publishing clients receive the number of connections that their message reached.
    tell_delivered: bool = False
    #: Where channels and users are shared with other nodes: an address of Redis, or "memory".
    engine: str = "memory"
    #: The URL at which nodes on other machines reach this one; "" limits it to this machine.
    node_url: str = ""
    #: Seconds without a heartbeat after which other nodes count this one as dead.
    engine_lease: float = 10.0
    #: A folder to keep the position in the site's outbox in; "" keeps it in memory only.
    run_dir: str = ""
    version: str = ""
    #: The number of this process among the workers of a supervisor, and the supervisor's process
    #: id; 0 without a supervisor.
    worker: int = 0
    supervisor: int = 0
    #: A port for `/metrics` without a secret; 0 for none. The interface is the one to open it on.
    metrics_port: int = 0
    metrics_interface: str = "127.0.0.1"
    #: The share of connections, from 0 to 1, whose permissions are logged, and whose usual ends
    #: are; None logs no decisions, and all ends.
    log_sample: float | None = None
    #: Whether to make spans of OpenTelemetry.
    tracing: bool = False

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ConfigError: For the first invalid value.

        """
        if not 0 <= self.port < 65_536:
            raise ConfigError("port", f"must be between 0 and 65535, not {self.port}")
        if not 0 <= self.metrics_port < 65_536:
            problem = f"must be between 0 and 65535, not {self.metrics_port}"
            raise ConfigError("metrics_port", problem)
        if self.metrics_port and self.metrics_port == self.port:
            raise ConfigError("metrics_port", f"must differ from the port, {self.port}")
        if self.log_sample is not None and not 0 <= self.log_sample <= 1:
            raise ConfigError("log_sample", f"must be between 0 and 1, not {self.log_sample}")
        if "/" in self.interface or " " in self.interface:
            raise ConfigError("interface", f"must be an address, not {self.interface!r}")
        for name in ("webhook_url", "single_url"):
            value = getattr(self, name)
            if value or name == "webhook_url":
                _check_url(name, value)
        self._check_engine()
        self.tls_context()
        for hook in self.webhook_paths:
            if hook not in WEBHOOKS:
                raise ConfigError("webhook_paths", f"names {hook!r}, which is not a webhook")
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ConfigError(
                    "trusted_proxies", f"contains {proxy!r}, which is not an IP address or range"
                ) from None
        try:
            HostRules.parse(self.polling_hosts)
        except HostProblem as problem:
            raise ConfigError("polling_hosts", f"is wrong: {problem}") from None
        for name in (
            "webhook_timeout", "webhook_concurrency", "max_frame_size", "max_payload_size",
            "max_name_length", "max_channels_per_connection", "max_channels", "max_subscriptions",
            "max_connections",
            "max_unconnected", "max_unconnected_per_address", "connect_timeout", "max_unsent",
            "max_unsent_total", "max_incoming", "max_channel_history", "max_history",
            "max_channel_state", "max_state", "max_answer_bytes", "max_rest_bytes",
            "max_cookie_bytes", "max_frames_per_second", "max_events", "ping_interval",
            "grace_period", "history_linger", "durable_seconds", "engine_lease",
        ):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ConfigError(name, f"must be greater than 0, not {getattr(self, name)}")
        for name in ("revalidate_seconds", "recovery_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigError(name, f"must be 0 or greater, not {getattr(self, name)}")

    def _check_engine(self) -> None:
        if self.engine == "memory":
            return
        from ..wire.engines import BadAddress, parse

        try:
            parse(self.engine)
        except BadAddress as problem:
            raise ConfigError("engine", f"is wrong: {problem}") from None

    def shown(self, url: str) -> str:
        """Return the URL of a webhook for display: with the Unix socket, without a password."""
        if not self.webhook_socket:
            return without_password(url)
        return f"{UNIX_SCHEME}://{self.webhook_socket}:{urlsplit(url).path}"

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the TLS context that verifies https webhooks, or None for the default one.

        Raises:
            ConfigError: If `ca_file` cannot be used.

        """
        if not self.ca_file:
            return None
        try:
            if os.path.isdir(self.ca_file):
                return ssl.create_default_context(capath=self.ca_file)
            return ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError:
            problem = f"names {self.ca_file}, which does not contain certificates in PEM format"
        except OSError as error:
            problem = f"names {self.ca_file}: {error.strerror}"
        raise ConfigError("ca_file", problem)


def _check_url(name: str, value: str) -> None:
    if not is_absolute(value):
        raise ConfigError(name, f"must be an absolute http or https URL, not {value!r}")


def changed_config(config: ServerConfig, values: JSONObject) -> ServerConfig:
    """Return a configuration with the values REST set_config may change; ignore other names.

    Raises:
        ConfigError: For an invalid value.

    """
    # In 0.3.3, null unsets these values.
    unset = ("cb_single_url", "webhook_secret")
    values = {k: "" if v is None and k in unset else v for k, v in values.items()}
    texts = ("cbhost", "cbpath", "cb_single_url", "webhook_secret", *(f"cb_{w}" for w in WEBHOOKS))
    for name in texts:
        if not isinstance(values.get(name, ""), str):
            raise ConfigError(name, f"must be a string, not {values[name]!r}")
    parts = urlsplit(config.webhook_url)
    host = str(values.get("cbhost", parts.hostname))
    port = values.get("cbport", port_of(parts))
    path = str(values.get("cbpath", parts.path)).rstrip("/")
    if path and not path.startswith("/"):
        raise ConfigError("cbpath", f"must begin with a slash, not {path!r}")
    moved = {"cbhost", "cbport", "cb_single_url"} & set(values)
    given = {hook: values[f"cb_{hook}"] for hook in WEBHOOKS if f"cb_{hook}" in values}
    return replace(
        config,
        webhook_url=f"{parts.scheme}://{bracketed(host)}:{port}{path}",
        webhook_socket="" if moved else config.webhook_socket,
        webhook_paths={**config.webhook_paths, **given},
        single_url=values.get("cb_single_url", config.single_url),
        webhook_secret=values.get("webhook_secret", config.webhook_secret),
    )
