"""Fetch every page of every admin site of the settings: `python -m tests.admin.walk`.

It prints what is wrong, and how many pages and links it has checked. A link that is on two sites is
followed on the first; on the other, it must lead to the same view. It runs in a separate process,
because one process cannot have these settings and those of the other tests.
"""

from __future__ import annotations

import gc
import re
import sys
from contextlib import ExitStack
from html import unescape
from urllib.parse import quote, urldefrag, urlencode, urlsplit

import django
from django.urls import resolve

#: The roots of our pages, and the addresses of the sites they belong to.
SITES = {"/admin/djhookbox/": "/admin/", "/staff/back-office/djhookbox/": "/staff/back-office/"}

#: Pages whose titles unfold itself would not show.
TITLED = ("charts", "channel", "user", "disconnect user", "try", "erase")


def main() -> int:
    django.setup()
    from django.apps import apps
    from django.contrib.auth import get_user_model
    from django.db import connections, transaction
    from django.test import Client
    from django.test.utils import setup_databases, setup_test_environment, teardown_databases

    from djhookbox.client import calls as rest
    from tests.admin.catalogue import ADDRESSES, CONNECTION, pages, populate
    from tests.admin.stand_in import Hookbox

    # A fifth of the time would be spent on walking through what Django has imported.
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    setup_test_environment()
    stand_in = Hookbox()
    stand_in.live = {"/front/": 1}
    stand_in.answers["get_channel_info"] = {"subscribers": ["alice"], "options": {}}
    open_now = {"conn_id": CONNECTION, "channels": ["/front/"]}
    stand_in.answers["list_connections"] = {"total": 1, "connections": [open_now]}
    rest.rest_call = stand_in  # type: ignore[assignment]
    databases = setup_databases(verbosity=0, interactive=False)
    problems: list[str] = []
    seen: set[str] = set()
    fetched: set[str] = set()
    count = 0
    try:
        with_long_keys()
        rows = populate()
        unfold = apps.is_installed("unfold")
        browser = Client()
        name = "root" if get_user_model().USERNAME_FIELD == "username" else "4915112345"
        # Its own argument has the field's name, whatever that is.
        browser.force_login(get_user_model()._default_manager.create_superuser(name))
        for root, site in SITES.items():
            for name, url in pages(rows, root).items():
                count += 1
                response = browser.get(url, follow=True)
                if response.status_code != 200:
                    problems.append(f"{url}: {response.status_code}")
                    continue
                if not response.redirect_chain:
                    fetched.add(url)
                html = response.content.decode()
                # The history of a row is Django's own page.
                if "djhookbox/admin/pages.css" not in html and "history" not in name:
                    problems.append(f"{name}: without our stylesheet ({url})")
                if ("admin/unfold.css" in html) != unfold and "history" not in name:
                    problems.append(f"{name}: the stylesheet for unfold ({url})")
                if name in TITLED and ("hookbox-title" in html) != unfold:
                    problems.append(f"{name}: the title for unfold ({url})")
                links = {unescape(link) for link in re.findall(r'(?:href|action)="(/[^"]*)"', html)}
                for link in links:
                    link = urldefrag(link).url.removesuffix("?")
                    # "/" is the link to the public site.
                    if link == "/" or link.startswith("/static/") or link in seen:
                        continue
                    if not link.startswith(site):
                        problems.append(f"{url} leads to {link}")
                    seen.add(link)
            # What no link leads to, such as the data of the live page.
            for address, about in ADDRESSES.items():
                if "<" not in address and about.gets != "nobody":
                    seen.add(f"{root}{address}?{urlencode(about.query)}".removesuffix("?"))
        for link in sorted(seen - fetched):
            if "/logout/" in urlsplit(link).path:
                continue
            twin = on_first_site(link)
            if twin != link and twin in seen:
                if view(link) != view(twin):
                    problems.append(f"{link} is not what {twin} is")
                continue
            with ExitStack() as stack:
                for alias in connections:
                    stack.enter_context(transaction.atomic(using=alias))
                status = browser.get(link).status_code
                for alias in connections:
                    transaction.set_rollback(True, using=alias)
            if status not in (200, 302, 405):
                problems.append(f"{link}: {status}")
    finally:
        teardown_databases(databases, verbosity=0)
    print(*problems, sep="\n")
    print(f"{count} pages, {len(seen)} links, {len(problems)} problems")
    return bool(problems)


def on_first_site(link: str) -> str:
    """Return the address of the same page on the first of the sites."""
    (first, *others) = SITES.values()
    for site in others:
        link = link.replace(site, first).replace(quote(site, safe=""), quote(first, safe=""))
    return link


def view(link: str) -> tuple[object, ...]:
    """Return what a link leads to, without the name of its site."""
    found = resolve(urlsplit(link).path)
    return found.app_names, found.url_name, found.args, found.kwargs


def with_long_keys() -> None:
    """Let primary keys begin above 1000, which some formats write with a separator."""
    from django.apps import apps
    from django.db import connections, router

    for model in apps.get_app_config("djhookbox").get_models():
        if model._meta.managed and not model._meta.proxy:
            with connections[router.db_for_write(model)].cursor() as cursor:
                cursor.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, 12344)",
                    [model._meta.db_table],
                )


if __name__ == "__main__":
    sys.exit(main())
