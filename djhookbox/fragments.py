"""Publish fragments of HTML, for pages that htmx updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from django.template.loader import render_to_string

from .guards import synchronous
from .publishing import publish

if TYPE_CHECKING:
    from django.http import HttpRequest


class _PrivateToken:
    """Stands for the CSRF token in a context: everyone on the channel would see it."""

    def __str__(self) -> NoReturn:
        raise ValueError(
            "publish_template() cannot render the CSRF token: all subscribers would see that of "
            "one user. Remove it from the template, and send it with hx-headers of the page."
        )

    def __bool__(self) -> bool:
        return bool(str(self))


@synchronous()
def publish_template(
    channel: str,
    template_name: str,
    context: Mapping[str, object] | None = None,
    request: HttpRequest | None = None,
    *,
    key: str = "",
    using: str | None = None,
    fail_silently: bool = False,
) -> int | None:
    """Render a template and publish it as `{"html": …}`; return what `publish` returns.

    Pages with `{% hookbox_refresh channel swap="…" %}` insert the fragment. All subscribers see the
    same HTML, so it must not depend on who is signed in. Values are escaped as in every template.

    Args:
        channel: The channel's name.
        template_name: The name of the template.
        context: The values for the template.
        request: The request for context processors, if the template needs them. The processors
            then add the values of this request's user.
        key: As for `publish`.
        using: As for `publish`.
        fail_silently: As for `publish`. Errors in the template are raised all the same.

    Raises:
        TemplateDoesNotExist: There is no such template. Nothing was sent.
        ValueError: The template contains the CSRF token (not detected in Jinja2 templates). Nothing
            was sent.
        HookboxError: As for `publish`.

    """
    values = {"csrf_token": _PrivateToken(), **(context or {})}
    html = render_to_string(template_name, values, request)
    return publish(channel, {"html": html}, key=key, using=using, fail_silently=fail_silently)
