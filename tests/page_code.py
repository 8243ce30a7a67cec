"""The code for pages in the documents, which tests/browser runs as it is printed."""

from __future__ import annotations

import functools

from .documents import PAGES, blocks

LANGUAGES = {"html", "html+django", "javascript", "jsx"}

#: A part of each block that is in no other, and the test that runs it.
RUN_BY = {
    # README.rst
    '<ul id="news">': "tests/test_package.py",
    # docs/howto
    "list.textContent": "tests/browser/test_documented.py",
    "show(user, payload)": "tests/browser/test_documented.py",
    "in Centrifugo:": "tests/browser/test_documented.py",
    "hookbox_script cursor": "tests/test_documentation.py",
    "tasks_list.html": "tests/browser/test_frameworks.py",
    'swap="beforeend"': "tests/browser/test_frameworks.py",
    # docs/reference/javascript.rst
    "for await (const { user, payload } of room)": "tests/browser/test_documented.py",
    "hookbox.message(": "tests/browser/test_documented.py",
    'Alpine.data("poll"': "tests/browser/test_frameworks.py",
    'from "ws"': "tests/browser/test_documented.py",
    # docs/client.rst
    "<head>{% hookbox_script %}</head>": "tests/browser/test_firefox.py",
    "customElements.define": "tests/browser/test_frameworks.py",
    'from "react"': "tests/browser/test_frameworks.py",
    'from "vue"': "tests/browser/test_frameworks.py",
    "$props()": "tests/browser/test_frameworks.py",
    'Alpine.data("room"': "tests/browser/test_frameworks.py",
    'x-data=': "tests/browser/test_frameworks.py",
    "await room.ready; // throws": "tests/browser/test_documented.py",
    "{% hookbox_imports %}": "tests/browser/test_firefox.py",
    "import { connect } from \"{% static 'djhookbox/hookbox.min.js' %}\"":
        "tests/browser/test_firefox.py",
    "var connection = hookbox.connect();": "tests/browser/test_firefox.py",
    "new SessionEnded": "tests/browser/test_documented.py",
    # docs/coming-from-2011.rst
    "<script src=\"{% static 'djhookbox/hookbox.classic.js' %}\"></script>\n\f":
        "tests/browser/test_documented.py",
    "conn.onSubscribed": "tests/browser/test_documented.py",
}  # fmt: skip


@functools.cache
def all_page_code() -> tuple[str, ...]:
    """Return all blocks of these languages, each ending in a form feed."""
    return tuple(
        f"{block.text}\n\f"
        for document in PAGES
        for block in blocks(document)
        if block.language in LANGUAGES
    )


def page_code(part: str) -> str:
    """Return the block that contains `part`, a key of `RUN_BY`."""
    assert part in RUN_BY
    (block,) = (block for block in all_page_code() if part in block)
    return block.removesuffix("\f")
