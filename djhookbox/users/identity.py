"""Identify connections: names of visitors, identities, connect tokens.

An identity is a string that Django gives the server when it accepts a connection, and receives with
every later webhook of that connection. It identifies what the connection's rights depend on: a
session (by the hash of its key, never the key), a token (with a hash that changes with the
password), or nothing, for anonymous visitors.
"""

from __future__ import annotations

import datetime
import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from ..conf import settings
from ..exceptions import UserNameError
from ..guards import database_errors
from ..wire import names
from ..wire.spent import SpentTokens
from . import accounts
from .accounts import User, username
from .expiry import seconds_left

#: The prefix of anonymous visitors' names; accounts whose names start with it may not connect.
ANONYMOUS_PREFIX = " _"

#: The identity of anonymous visitors.
ANONYMOUS = "anonymous"

#: The code of refusals that signing in again would resolve.
EXPIRED = "session_expired"

#: The tokens that this process has accepted.
_spent = SpentTokens(time.monotonic)

_TOKEN_SALT = "djhookbox.token"  # noqa: S105 - a salt is not secret
_ANONYMOUS_SALT = "djhookbox.anonymous"


class IdentityError(Exception):
    """A visitor may not connect; the text says why.

    Attributes:
        code: `refused`, or `session_expired` if signing in again would help.

    """

    def __init__(self, reason: str, code: str = "refused") -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who connects: the user, the name that others see, and the identity.

    Attributes:
        single_use: Whether a token for a single connection identified them.
        expires: The number of seconds until their session expires, if that is known.

    """

    user: User
    name: str
    identity: str
    single_use: bool = False
    expires: float | None = None


# ---- what pages and clients are given --------------------------------------


def connect_token(user: User) -> str:
    """Return a token that lets a client without cookies connect as this user.

    It is valid for one connection and for `HOOKBOX_TOKEN_MAX_AGE` seconds (60). Send it to the
    client in a response body, and have the client send it in CONNECT, never in a URL.
    The connection outlives the token: it ends when the password changes, or when the account is
    deactivated or deleted.

    The Hookbox process remembers the tokens it has accepted, and so does each process of the site.
    A token can therefore be used twice only if the Hookbox process was restarted in between and
    another process of the site is asked.

    Raises:
        UserNameError: The user has no account, or the account is not active.
        HookboxDatabaseError: The user could not be loaded.

    """
    with database_errors():  # `request.user` queries the database on first use
        if not user.is_authenticated or not user.is_active:
            raise UserNameError(
                _("A connect token can only be issued to an active account."), code="refused"
            )
        # The nonce makes tokens of the same second differ; each of them may be used once.
    nonce = secrets.token_urlsafe(6)
    return signing.dumps([str(user.pk), _credential(user), nonce], salt=_TOKEN_SALT)


def issue_anonymous_id() -> str:
    """Return a signed id that gives an anonymous visitor a unique name.

    It grants nothing; the signature only keeps visitors from taking other visitors' names.
    """
    return signing.Signer(salt=_ANONYMOUS_SALT).sign(secrets.token_urlsafe(9))


def read_anonymous_id(token: str) -> str | None:
    """Return the name in a signed id, or None if the signature is invalid."""
    try:
        return ANONYMOUS_PREFIX + signing.Signer(salt=_ANONYMOUS_SALT).unsign(token)
    except signing.BadSignature:
        return None


# ---- identities ------------------------------------------------------------


def session_identity(session_key: str) -> str:
    """Return the identity of connections that depend on a session."""
    return "session:" + hashlib.sha256(b"djhookbox.session" + session_key.encode()).hexdigest()


def token_identity(user: User) -> str:
    """Return the identity of connections that depend on a user's password."""
    return f"token:{user.pk}:{_credential(user)}"


def _credential(user: User) -> str:
    get_hash = getattr(user, "get_session_auth_hash", None)
    return _credentials([get_hash() if get_hash else ""])[0]


def _credentials(hashes: Iterable[str]) -> list[str]:
    # Django's hash is already keyed, also with old keys while SECRET_KEY is rotated.
    return [hashlib.sha256(f"{_TOKEN_SALT}{text}".encode()).hexdigest()[:16] for text in hashes]


def _holds(user: User, credential: str) -> bool:
    """Return whether a credential matches the user's current password."""
    hashes = [_credential(user)]
    # While SECRET_KEY is rotated, hashes made with the old keys are valid as well.
    fallbacks = getattr(user, "get_session_auth_fallback_hash", None)
    if fallbacks is not None:
        hashes += _credentials(fallbacks())
    return any(constant_time_compare(credential, known) for known in hashes)


class Tokens:
    """The accounts of identities that `token_identity` has made, loaded with one query.

    Args:
        identities: Identities of any kind.

    """

    def __init__(self, identities: Iterable[str]) -> None:
        model = get_user_model()
        self._field: Any = model._meta.pk
        found = (self._key(each)[0] for each in identities if self.is_one(each))
        keys = {key for key in found if key is not None}
        users = model._default_manager.filter(pk__in=keys) if keys else ()
        self._users: dict[Any, Any] = {user.pk: user for user in users}

    @staticmethod
    def is_one(identity: str) -> bool:
        """Return whether an identity is that of a token."""
        return identity.startswith("token:")

    def account(self, identity: str) -> tuple[Any | None, bool]:
        """Return a token's account, or None, and whether its password is unchanged."""
        key, credential = self._key(identity)
        user = self._users.get(key)
        return user, user is not None and _holds(user, credential)

    def _key(self, identity: str) -> tuple[Any, str]:
        pk, credential = _parts(identity)
        try:
            return self._field.to_python(pk), credential
        except ValidationError:
            return None, credential


def _parts(identity: str) -> tuple[str, str]:
    """Return the key of the account, and the credential, in a token's identity."""
    pk, _separator, credential = identity.removeprefix("token:").rpartition(":")
    return pk, credential


# ---- connecting --------------------------------------------------------------


def identify(
    request: HttpRequest, token: str = "", expected: str = "", conn_id: str = ""
) -> Visitor:
    """Return who connects.

    A user's token takes precedence over the cookie, because it is sent on purpose; an anonymous
    visitor's signed id only counts if there is no session.

    Args:
        request: The webhook.
        token: A connect token, or a signed id.
        expected: The only name that may connect, if not empty.
        conn_id: The connection's id; only this connection may use the token afterwards.

    Raises:
        IdentityError: They may not connect, or not as this user.

    """
    user = _request_user(request)
    anonymous_name = read_anonymous_id(token) if token else None
    if token and anonymous_name is None:
        user = _token_user(token, conn_id)
        visitor = Visitor(user, username(user), token_identity(user), single_use=True)
    elif user.is_authenticated and user.is_active:
        key = _session_key(request)
        # A site may identify users without a session, for example by a proxy's header.
        identity = session_identity(key) if key else token_identity(user)
        expires = seconds_left(request.session) if key else None
        visitor = Visitor(user, username(user), identity, expires=expires)
    elif not settings.anonymous:
        raise IdentityError(_("Only signed-in users may connect."))
    else:
        name = anonymous_name or ANONYMOUS_PREFIX + secrets.token_urlsafe(9)
        visitor = Visitor(_nobody(), name, ANONYMOUS)
    if visitor.identity != ANONYMOUS:
        _require_usable(visitor.name)
    if expected and expected != visitor.name:
        raise IdentityError(_("You are no longer signed in as the same user."), EXPIRED)
    return visitor


def _require_usable(name: str) -> None:
    if name.startswith(ANONYMOUS_PREFIX):
        # Otherwise an account could take the name of a visitor who is connected.
        raise IdentityError(_("This user name is reserved for anonymous visitors."))
    fault = names.find_fault(name, settings.max_name_length)
    if fault is names.Fault.CHARACTERS:
        raise IdentityError(_("This user name contains control characters."))
    if fault is not None:
        raise IdentityError(_("This user name is empty or too long."))


def _token_user(token: str, conn_id: str) -> Any:
    try:
        pk, credential, *_nonce = signing.loads(
            token, salt=_TOKEN_SALT, max_age=datetime.timedelta(seconds=settings.token_max_age)
        )
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise IdentityError(_("The connect token is invalid or has expired."), EXPIRED) from error
    user = _account(pk, str(credential))
    if user is None:
        raise IdentityError(_("The connect token is no longer valid."), EXPIRED)
    if not _spent.spend(token, conn_id, settings.token_max_age):
        raise IdentityError(_("The connect token has already been used."), EXPIRED)
    return user


def _account(pk: str, credential: str) -> Any:
    """Return the active account with a key if its password is unchanged, or None."""
    model = get_user_model()
    try:
        user = model._default_manager.get(pk=pk)
    except (model.DoesNotExist, ValueError, TypeError, ValidationError):
        return None
    return user if user.is_active and _holds(user, credential) else None


# ---- later webhooks ------------------------------------------------------------


def verify(request: HttpRequest, identity: str, name: str) -> User | None:
    """Return the user behind a webhook, or None if the session has ended.

    Args:
        request: The webhook, with the cookies of the connection.
        identity: The identity that Django gave the connection; empty from the genuine server.
        name: The name that Django gave the user; empty if the server does not send it.

    """
    if identity == ANONYMOUS:
        return _nobody()
    if Tokens.is_one(identity):
        pk, credential = _parts(identity)
        account: User | None = _account(pk, credential)
        return account if account is not None and username(account) == name else None
    user: User = _request_user(request)
    if identity:
        key = _session_key(request) if user.is_authenticated else None
        same = key is not None and constant_time_compare(session_identity(key), identity)
        return user if same and user.is_active and username(user) == name else None
    if not name or username(user) == name:
        return user
    # The genuine server only sends the name; no account has a name like this.
    return user if not user.is_authenticated and name.startswith(ANONYMOUS_PREFIX) else None


def by_name(name: str) -> User:
    """Return the account with a name, or an anonymous user; for users who are leaving."""
    if name and not name.startswith(ANONYMOUS_PREFIX):
        user: User | None = accounts.find(name)
        if user is not None:
            return user
    return _nobody()


def _nobody() -> User:
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser()


def _request_user(request: HttpRequest) -> Any:
    return getattr(request, "user", None) or _nobody()


def _session_key(request: HttpRequest) -> str | None:
    """Return the key of the loaded session, or None if the session does not exist."""
    session = getattr(request, "session", None)
    return getattr(session, "session_key", None)
