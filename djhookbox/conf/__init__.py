"""Django's settings, read only here: each `HOOKBOX_*` setting as a typed property.

Nothing is cached and nothing is written back, so that `override_settings` works everywhere.
A property raises `HookboxMisconfigured` for an invalid value; `djhookbox.checks` finds the same
mistakes before anything runs.
"""

from __future__ import annotations

from .admin import AdminSettings
from .admission import AdmissionSettings
from .audit import AuditSettings
from .compatibility import CompatibilitySettings
from .development import DevelopmentSettings
from .limits import LimitSettings
from .memory import MemorySettings
from .operators import OperatorSettings
from .polling import PollingSettings
from .process import ProcessSettings
from .recovery import RecoverySettings
from .rest import WILDCARD_INTERFACES
from .scaling import ScalingSettings
from .secrets import SecretSettings
from .webhooks import WebhookSettings


class HookboxSettings(
    SecretSettings,
    WebhookSettings,
    AdmissionSettings,  # with the settings of REST calls and of the process's address
    LimitSettings,
    MemorySettings,
    RecoverySettings,
    PollingSettings,
    AuditSettings,
    AdminSettings,
    ProcessSettings,
    OperatorSettings,
    ScalingSettings,
    DevelopmentSettings,
    CompatibilitySettings,
):
    """The settings of django-hookbox, each with its default."""


#: The only instance; read its properties, never Django's settings.
settings = HookboxSettings()

#: For checks: the properties that can raise.
PROPERTIES: tuple[str, ...] = tuple(
    name
    for part in HookboxSettings.__mro__
    for name, value in vars(part).items()
    if isinstance(value, property)
)

#: Properties that are not settings.
_DERIVED = {
    "debug", "rest_is_derived", "rest_secrets", "rest_urls", "unix_host", "webhook_headers",
    "webhook_host", "webhook_path", "webhook_secrets",
}  # fmt: skip

#: For checks: every known `HOOKBOX_*` name.
NAMES: frozenset[str] = frozenset(
    {f"HOOKBOX_{name.upper()}" for name in PROPERTIES if name not in _DERIVED}
    | {"HOOKBOX_WEBHOOK_SECRET", "HOOKBOX_REST_SECRET", "HOOKBOX_API_SECURITY_TOKEN"}
)

__all__ = ["NAMES", "PROPERTIES", "WILDCARD_INTERFACES", "HookboxSettings", "settings"]
