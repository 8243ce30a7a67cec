"""The settings for those who operate the process."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from ..exceptions import HookboxMisconfigured
from .reading import SettingsReader, shown


@cache
def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.trace") is not None
    except ModuleNotFoundError:
        return False


LOG_FORMATS = ("text", "json")


class OperatorSettings(SettingsReader):
    """How the process is observed, and what is stored of people."""

    @property
    def log_format(self) -> str:
        """The format of the process's log: `text` or `json`."""
        value = self._str("HOOKBOX_LOG_FORMAT", "text")
        if value not in LOG_FORMATS:
            raise HookboxMisconfigured(
                f'HOOKBOX_LOG_FORMAT is "{value}"; it must be "text" or "json".'
            )
        return value

    @property
    def log_sample(self) -> float | None:
        """The share of connections whose allowed operations are logged; None logs no decisions."""
        name = "HOOKBOX_LOG_SAMPLE"
        nothing: float | None = None
        value = self._typed(name, nothing, (int, float, type(None)), "a number between 0 and 1")
        if value is None:
            return 1.0 if self.log_format == "json" else None
        if not 0 <= value <= 1:
            raise HookboxMisconfigured(f"{name} must be between 0 and 1, not {shown(value)}.")
        return float(value)

    @property
    def tracing(self) -> bool:
        """Whether OpenTelemetry spans are created for publications and webhooks."""
        value = self._bool("HOOKBOX_TRACING", False)
        if value and not _has_opentelemetry():
            raise HookboxMisconfigured(
                "HOOKBOX_TRACING is True, but OpenTelemetry is not installed: "
                "pip install 'django-hookbox[otel]'."
            )
        return value

    @property
    def shorten_addresses(self) -> bool:
        """Whether the audit log stores only the network of an address."""
        return self._bool("HOOKBOX_SHORTEN_ADDRESSES", False)

    @property
    def metrics_port(self) -> int:
        """The port for metrics without a secret, or 0."""
        return self._int("HOOKBOX_METRICS_PORT", 0, least=0, most=65_535, note="; 0 opens none")

    @property
    def metrics_interface(self) -> str:
        """The address on which the port for metrics is opened."""
        return self._host("HOOKBOX_METRICS_INTERFACE", "127.0.0.1")
