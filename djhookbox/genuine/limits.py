"""What the genuine Hookbox 0.3.3 cannot do, in words for who runs it in place of our server."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _

from ..conf import settings
from ..exceptions import HookboxRefused

#: What the genuine Hookbox 0.3.3 can do. It has more names, but behind them is nothing.
GENUINE_CALLS = frozenset({
    "publish", "subscribe", "unsubscribe", "get_channel_info", "set_channel_options",
    "state_set_key", "state_delete_key", "set_config",
})  # fmt: skip


def is_not_found(headers: Mapping[str, str], text: str) -> bool:
    """Tell whether the genuine server says 404 so; no framework leaves out the type."""
    return text == "Not Found" and "Content-Type" not in headers


def require_known(call: str, status: int) -> None:
    """Explain an answer that the genuine server gives to what only ours can do.

    Raises:
        HookboxRefused: It is one of these calls.

    """
    if call not in GENUINE_CALLS:
        raise HookboxRefused(
            _(
                "The Hookbox process at %(url)s does not support “%(call)s”; it seems to be "
                "the genuine Hookbox 0.3.3. Delete HOOKBOX_EXECUTABLE to run the server that "
                "comes with django-hookbox, which does."
            )
            % {"url": settings.rest_url, "call": call},
            status=status,
            code="unsupported",
        )


def require_ascii(*names: str | None) -> None:
    """Refuse what the genuine server would do to another channel or user than the one meant.

    Raises:
        HookboxRefused: A name has other characters: over REST it takes them for bytes (D21).

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
