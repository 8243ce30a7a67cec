"""What `runhookbox` says about its configuration and about an address that it cannot use."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.urls import reverse
from django.utils.translation import gettext as _

from ..conf import settings
from ..process import reachability
from ..wire.urls import without_password
from ..workers.place import Options

if TYPE_CHECKING:
    from ..server.config import ServerConfig


def warnings(config: ServerConfig, options: Options) -> Iterator[str]:
    """Yield warnings where the process would not match what this site expects."""
    if not config.single_url:
        path = (
            f"{urlsplit(config.webhook_url).path}/{config.webhook_paths.get('connect', 'connect')}"
        )
        if not reachability.has_webhooks():
            yield _(
                "This site's URLconf does not include the webhooks: add path('hookbox/', "
                "include('djhookbox.urls'))."
            )
        elif not reachability.leads_to_webhook(path) and reachability.language_before(
            found := reverse("hookbox_connect")
        ):
            yield _(
                "This site's URLconf has the webhook not at %(path)s but at %(found)s, which "
                "starts with a language prefix. Include “djhookbox.urls” outside "
                "i18n_patterns()."
            ) % {"path": path, "found": found}
        elif not reachability.leads_to_webhook(path):
            yield _(
                "This site's URLconf has no webhook at %(path)s. See HOOKBOX_CBPATH, "
                "HOOKBOX_WEBHOOK_URL."
            ) % {"path": path}
    if config.webhook_secret not in settings.webhook_secrets:
        yield _("This site does not accept the webhook secret given with -s.")
    if settings.rest_secrets[0] not in config.rest_secrets:
        yield _("The REST secret given with -r is not the one this site uses.")
    # HOOKBOX_REST_URL may name a proxy, which cannot be compared.
    moved = options["port"] is not None or options["interface"] is not None
    if moved and settings.rest_is_derived and (
        config.port != settings.port or config.interface != settings.interface
    ):  # fmt: skip
        yield _(
            "This site expects the process at %(url)s, but -i and -p make it listen "
            "elsewhere. Set HOOKBOX_INTERFACE and HOOKBOX_PORT, or HOOKBOX_REST_URL."
        ) % {"url": without_password(settings.rest_url)}


def explain_os_error(error: OSError, config: ServerConfig) -> str:
    """Return why the process cannot listen, and what to do."""
    where = {"interface": config.interface, "port": config.port, "problem": error.strerror}
    if error.errno == errno.EADDRINUSE:
        text = _(
            "Port %(port)d on %(interface)s is already in use. Is another Hookbox process "
            "running? Stop it, or choose another port with -p/--port or HOOKBOX_PORT."
        )
    elif error.errno == errno.EACCES:
        text = _(
            "Port %(port)d on %(interface)s requires privileges. Choose a port above 1023 "
            "with -p/--port or HOOKBOX_PORT."
        )
    elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        text = _(
            "“%(interface)s” is not an address of this machine. See -i/--interface, "
            "HOOKBOX_INTERFACE."
        )
    else:
        text = _("The Hookbox process cannot listen on %(interface)s, port %(port)d: %(problem)s.")
    return text % where
