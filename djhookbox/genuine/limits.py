"""Explain what the genuine Hookbox 0.3.3 does not support when it replaces the bundled server."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _

from ..conf import settings
from ..exceptions import HookboxRefused
from ..wire.urls import without_password

#: REST calls that the genuine Hookbox 0.3.3 implements. It has other names without a function.
GENUINE_CALLS = frozenset({
    "publish", "subscribe", "unsubscribe", "get_channel_info", "set_channel_options",
    "state_set_key", "state_delete_key", "set_config",
})  # fmt: skip


def is_not_found(headers: Mapping[str, str], text: str) -> bool:
    """Return whether this is the genuine server's 404; no framework omits the content type."""
    return text == "Not Found" and "Content-Type" not in headers


def require_known(call: str, status: int) -> None:
    """Explain an answer of the genuine server to a call that only the bundled server supports.

    Raises:
        HookboxRefused: It is such a call.

    """
    if call not in GENUINE_CALLS:
        raise HookboxRefused(
            _(
                "The Hookbox process at %(url)s does not support “%(call)s”; it seems to be "
                "the genuine Hookbox 0.3.3. Delete HOOKBOX_EXECUTABLE to run the server that "
                "comes with django-hookbox, which does."
            )
            % {"url": without_password(settings.rest_url), "call": call},
            status=status,
            code="unsupported",
        )


def require_ascii(*names: str | None) -> None:
    """Reject names that the genuine server would mistake for others.

    Raises:
        HookboxRefused: A name is not ASCII: over REST it is read as bytes (D21).

    """
    for name in names:
        if name is not None and not name.isascii():
            raise HookboxRefused(
                _(
                    "“%(name)s” cannot be used from code: the genuine Hookbox 0.3.3 accepts only "
                    "ASCII names over REST. See HOOKBOX_EXECUTABLE."
                )
                % {"name": name},
                code="unsupported",
            )
