"""Which certificate authorities vouch for https addresses, and what to say if none does.

`HOOKBOX_CA_FILE` comes first, then what the environment says to requests, curl and OpenSSL.
Whatever is found takes the place of the usual authorities, as it does for these programs.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from django.utils.translation import gettext as _

from .conf import settings
from .exceptions import HookboxMisconfigured

#: Variables of the environment that name a file or a folder of certificates, the first one first.
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def ca_path() -> str | None:
    """Return the file or folder of the authorities to trust, None for the usual ones.

    Raises:
        HookboxMisconfigured: It cannot be used; the text says who named it.

    """
    if settings.ca_file is not None:
        return _existing("HOOKBOX_CA_FILE", str(settings.ca_file))
    for name in VARIABLES:
        path = os.environ.get(name)
        if not path:
            continue
        if name.startswith("SSL_") and not os.path.exists(path):
            continue  # OpenSSL, whose variables these are, ignores them then
        return _existing(name, path)
    return None


def _existing(name: str, path: str) -> str:
    if not os.path.exists(path):
        raise HookboxMisconfigured(
            _("%(name)s is %(path)s, which does not exist.") % {"name": name, "path": path}
        )
    return path


def unusable(path: Path) -> str:
    """Return why a file or folder cannot be used for its certificates, "" if it can."""
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
    """Return what is wrong, and what to do, if TLS keeps us from calling an address.

    Args:
        url: The address.
        error: What was raised; the reason may be hidden among its causes.

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
    """Return an exception and those that it was made of: requests and urllib3 wrap them."""
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
