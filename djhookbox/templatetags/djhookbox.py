"""Template tags that make the browser client available to a page.

    {% load djhookbox %}{% hookbox_script %}
    <script type="module">
      import { connect } from "djhookbox";
      const room = connect().subscribe("/rooms/1/");
      room.on("publish", ({ user, payload }) => console.log(user, payload));
    </script>

With a Content-Security-Policy that uses nonces, the page's own `<script>` needs its nonce as usual,
and `connect-src` must contain the address of the Hookbox process.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from django import template
from django.http import HttpRequest
from django.template import Context, TemplateSyntaxError
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from ..conf import settings

if TYPE_CHECKING:
    from ..users.accounts import User

register = template.Library()

#: The scripts of the client: the one that pages import, and those it may load.
SCRIPTS = ("hookbox", "legacy", "csp_transport", "shared")

#: How htmx can insert a fragment.
SWAPS = ("innerHTML", "outerHTML", "beforebegin", "afterbegin", "beforeend", "afterend")

#: Characters to escape in a script element, as in Django's json_script.
_ESCAPES = {ord(character): f"\\u{ord(character):04X}" for character in "<>&"}


@register.inclusion_tag("djhookbox/script.html", takes_context=True)
def hookbox_script(
    context: Context, *cursors: object, anonymous_id: bool = True, import_map: bool = True
) -> dict[str, object]:
    """Render the client's configuration and the import map that names it `djhookbox`.

    Some browsers accept only one import map per page, before all module scripts, so put the tag
    in the head. If a browser does not accept it, the console says what to do.

    Args:
        context: The template's context.
        cursors: Results of `djhookbox.cursor()`, individually or in lists: the page's first
            subscription to such a channel starts there.
        anonymous_id: Whether to give a visitor without an account a name that stays the same
            while the page is open. Switch it off on pages that a cache shares among visitors;
            otherwise they would all have the same name.
        import_map: Whether to render the import map, which is an inline script. Pages do not need
            it if they import the client by its path
            (`{% static "djhookbox/hookbox.min.js" %}`), load it as a classic script
            (`hookbox.classic.js`), or have their own map with `{% hookbox_imports %}`.

    """
    request = context.get("request")
    config = _config(getattr(request, "user", None), anonymous_id=anonymous_id)
    debugging = ""
    if settings.debug:
        config["hint"] = _hint(request)
        debugging = static("djhookbox/debugging.js")
        with suppress(NoReverseMatch):  # the URLconf does not include ours
            config["diagnosis"] = reverse("hookbox_diagnosis")
    return {
        "config": config | _modules() | _cursors(cursors),
        "import_map": _json({"imports": _imports()}) if import_map else "",
        "advice": _advice() if import_map else "",
        # Not a module: some browsers would ignore an import map of the page's own after it.
        "debugging": debugging,
        "nonce": _nonce(context) if import_map or debugging else "",
    }


def _config(user: User | None, *, anonymous_id: bool) -> dict[str, object]:
    config: dict[str, object] = {}
    if settings.public_url:
        config["url"] = settings.public_url
    else:
        # Cookies belong to a host name, so the browser uses the one of the page.
        config["port"] = settings.port
    if user is not None and user.is_authenticated:
        from ..users.accounts import username

        config["user"] = username(user)
    elif anonymous_id and settings.anonymous:
        from ..users.identity import issue_anonymous_id

        config["token"] = issue_anonymous_id()
    return config


def _hint(request: HttpRequest | None) -> str:
    """Return where to fix refused subscriptions; only sites with DEBUG tell their pages."""
    try:
        url = reverse("admin:djhookbox_channelpolicy_changelist")
    except NoReverseMatch:
        return _(
            "To see who decides, run “manage.py hookbox_explain USER CHANNEL”. "
            "(Shown because DEBUG is on.)"
        )
    return _(
        "Add or change a channel policy at %(url)s; “Try a channel” there shows who decides. "
        "(Shown because DEBUG is on.)"
    ) % {"url": request.build_absolute_uri(url) if request is not None else url}


def _cursors(given: Iterable[object]) -> dict[str, object]:
    from ..cursors import Cursor

    found: dict[str, str] = {}
    for each in given:
        for cursor in each if isinstance(each, list | tuple) else [each]:
            if not cursor:
                continue  # the process is down
            if not isinstance(cursor, Cursor):
                raise TemplateSyntaxError(
                    "hookbox_script expects cursors returned by djhookbox.cursor(), not "
                    f"{type(cursor).__name__}"
                )
            # The earlier of two cursors: each was taken before its query.
            found.setdefault(cursor.channel, str(cursor))
    return {"cursors": found} if found else {}


@register.simple_tag
def hookbox_imports() -> SafeString:
    """Render the client's entries for the page's own import map, without braces.

    Browsers such as Firefox accept only one import map per page::

        {% hookbox_script import_map=False %}
        <script type="importmap">
          {"imports": {"vue": "{% static 'vue.js' %}", {% hookbox_imports %}}}
        </script>
    """
    return _json(_imports(), braces=False)


@register.simple_tag(takes_context=True)
def hookbox_refresh(
    context: Context, channel: str, target: str = "", *, swap: str = "", spread: object = 0.5
) -> SafeString:
    """Render an element that keeps another one up to date, with htmx.

    When a message says that something has changed, the target gets the event `hookbox:refresh`,
    and htmx fetches it again::

        {% hookbox_refresh "/tasks/" %}
        <ul hx-get="{% url 'tasks' %}" hx-trigger="hookbox:refresh">…</ul>

    Put the tag outside of the target, after `{% hookbox_script %}`. If the static files storage
    renames files, the module that the tag loads finds the client through the import map.

    Args:
        context: The template's context.
        channel: The channel's name.
        target: A CSS selector of the element to keep up to date; by default, the element after the
            tag.
        swap: How to insert fragments from `djhookbox.publish_template()` into the target:
            `innerHTML`, `outerHTML`, `beforebegin`, `afterbegin`, `beforeend` or `afterend`. By
            default, htmx fetches the target again instead. It also does so after a gap, and for
            messages that are not from the site's own code.
        spread: Over how many seconds pages spread their requests, at random.

    """
    from ..vouching import validate_channel

    validate_channel(channel)
    if swap and swap not in SWAPS:
        raise TemplateSyntaxError(
            f"hookbox_refresh: swap is {swap!r}; it must be one of {', '.join(SWAPS)}"
        )
    if not isinstance(spread, int | float) or not 0 <= spread < math.inf:
        raise TemplateSyntaxError(
            f"hookbox_refresh: spread is {spread!r}; it must be a number of seconds, 0 or more"
        )
    attributes = {"channel": channel, "target": target, "swap": swap, "spread": str(spread)}
    nonce = _nonce(context)
    return format_html(
        '<script type="module" src="{}"{}></script><hookbox-refresh{} hidden></hookbox-refresh>',
        static("djhookbox/refresh.js"),
        format_html(' nonce="{}"', nonce) if nonce else "",
        format_html_join("", ' {}="{}"', [each for each in attributes.items() if each[1]]),
    )


def _imports() -> dict[str, str]:
    """Map the client's names to its files, and original file names to the renamed ones.

    The scripts import each other as `./name.min.js`. If the storage renames files, the browser
    would find the copies without a hash, if any, which caches may keep after an upgrade.
    """
    entry = static("djhookbox/hookbox.min.js")
    imports = {"djhookbox": entry, "djhookbox/legacy": static("djhookbox/legacy.min.js")}
    for name, address in _renamed().items():
        imports[urljoin(entry, f"{name}.min.js")] = address
    return imports


def _renamed() -> dict[str, str]:
    """Return the URLs of the scripts that are not where the others look for them."""
    entry = static("djhookbox/hookbox.min.js")
    addresses = {name: static(f"djhookbox/{name}.min.js") for name in SCRIPTS}
    return {
        name: address
        for name, address in addresses.items()
        if address != urljoin(entry, f"{name}.min.js")
    }


def _modules() -> dict[str, object]:
    """Return the URLs of the modules that are loaded later, for pages without an import map."""
    renamed = _renamed()
    found = {name: renamed[name] for name in ("csp_transport", "shared") if name in renamed}
    return {"modules": found} if found else {}


def _advice() -> SafeString:
    """Return the console message for browsers that do not accept the import map, as JSON."""
    text = _(
        "This browser did not accept one of the page's import maps, so “import … from "
        '"djhookbox"” may fail. Some browsers, such as Firefox, accept only one per '
        "page, before all module scripts. Put {% hookbox_script %} before them; if the "
        "page already has an import map, write {% hookbox_script import_map=False %} "
        'and add {% hookbox_imports %} to that map; or import from "{address}".'
    ).replace("{address}", static("djhookbox/hookbox.min.js"))
    return _json(f"djhookbox: {text}")


def _json(value: object, *, braces: bool = True) -> SafeString:
    text = json.dumps(value).translate(_ESCAPES)
    return mark_safe(text if braces else text[1:-1])  # noqa: S308 - escaped just above


def _nonce(context: Context) -> str:
    """Return the nonce that Django 6 or django-csp created for this response, or ""."""
    nonce = context.get("csp_nonce")
    if nonce is None:
        nonce = getattr(context.get("request"), "csp_nonce", None)
    # Both are lazy, and false until they have been used.
    return "" if nonce is None else str(nonce)
