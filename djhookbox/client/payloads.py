"""Write the values that are sent as JSON."""

from __future__ import annotations

from django.utils.translation import gettext as _

from .. import strict_json
from ..conf import settings
from ..exceptions import PayloadError


def to_json(value: object) -> str:
    """Format a value as JSON text, as Django would.

    Raises:
        PayloadError: It is not JSON, or is longer than `HOOKBOX_MAX_PAYLOAD_SIZE`; the text names
            the type or size.

    """
    try:
        text = strict_json.write(value)
    except (TypeError, ValueError) as error:
        raise PayloadError(
            _("This cannot be written as JSON: %(problem)s.") % {"problem": error},
            code="malformed",
        ) from error
    # ASCII, so that characters are bytes.
    if len(text) > settings.max_payload_size:
        raise PayloadError(
            _(
                "This is %(size)d bytes of JSON, but at most %(limit)d can be sent at once. "
                "Send less, send a URL to fetch it from, or raise HOOKBOX_MAX_PAYLOAD_SIZE "
                "(and restart the Hookbox process)."
            )
            % {"size": len(text), "limit": settings.max_payload_size},
            code="limit",
        )
    return text
