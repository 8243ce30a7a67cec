"""Find the certificate authorities to trust for https, and explain TLS failures.

`HOOKBOX_CA_FILE` comes first, then the environment variables of requests, curl and OpenSSL.
What they name replaces the default authorities, as it does for these programs.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from django.utils.translation import gettext as _

from .conf import settings
from .exceptions import HookboxMisconfigured

#: Environment variables that name a file or folder of certificates, in order of precedence.
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def ca_path() -> str | None:
    """Return the file or folder of trusted authorities, or None for the default ones.

    Raises:
        HookboxMisconfigured: It cannot be used; the text names the setting.

    """
    if settings.ca_file is not None:
        return _existing("HOOKBOX_CA_FILE", str(settings.ca_file))
    for name in VARIABLES:
        path = os.environ.get(name)
        if not path:
            continue
        if name.startswith("SSL_") and not os.path.exists(path):
            continue  # OpenSSL, which defines these variables, ignores them in this case
        return _existing(name, path)
    return None


def _existing(name: str, path: str) -> str:
    if not os.path.exists(path):
        raise HookboxMisconfigured(
            _("%(name)s is %(path)s, which does not exist.") % {"name": name, "path": path}
        )
    return path


def unusable(path: Path) -> str:
    """Return why a certificate file or folder cannot be used, or ""."""
    try:
        if not path.is_dir():
            ssl.create_default_context(cafile=str(path))
        elif not os.access(path, os.R_OK | os.X_OK):
            return _("the folder cannot be read")
    except ssl.SSLError:
        return _("it does not contain certificates in PEM format")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def explain(url: str, error: BaseException) -> str:
    """Explain the TLS failure that prevents a connection, or return "".

    Args:
        url: The address.
        error: The exception; the reason may be hidden among its causes.

    """
    problem = _verification(error)
    if problem:
        return _(
            "The certificate of %(url)s was rejected: %(problem)s. If it was signed by a "
            "private CA, set HOOKBOX_CA_FILE to the path of the CA's certificate (or "
            "REQUESTS_CA_BUNDLE in the environment)."
        ) % {"url": url, "problem": problem}
    path = ca_path()
    problem = unusable(Path(path)) if path else ""
    if problem:
        return _(
            "The certificates in %(path)s cannot be used: %(problem)s. See HOOKBOX_CA_FILE, "
            "REQUESTS_CA_BUNDLE, SSL_CERT_FILE."
        ) % {"path": path, "problem": problem}
    return _(
        "Cannot establish a TLS connection to %(url)s: %(problem)s. Does this address use https?"
    ) % {"url": url, "problem": _innermost(error)}


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and its causes, which requests and urllib3 wrap."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            waiting += [*each.args, getattr(each, "reason", None), each.__cause__]
    return found


def _verification(error: BaseException) -> str:
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return str(each.verify_message).rstrip(".") or str(each.reason)
    return ""


def _innermost(error: BaseException) -> str:
    for each in _chain(error):
        if isinstance(each, ssl.SSLError):
            return str(each.reason or each).replace("_", " ").lower()
    return str(error)


def is_refused(error: BaseException) -> bool:
    """Return whether a connection failed because nothing listens at the address."""
    return any(isinstance(each, ConnectionRefusedError) for each in _chain(error))
