"""The blocks of code in the documents; each document is parsed once."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from docutils import core, nodes

from .projects import ROOT

#: README.rst and the pages of the documentation.
PAGES = (
    "README.rst",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.rst")),
)


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    document: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}: {self.text.splitlines()[0]}"


@functools.cache
def blocks(document: str) -> tuple[Block, ...]:
    """Return the code blocks; the language of those after a plain `::` is ""."""
    path = ROOT / document
    settings = {"report_level": 5, "syntax_highlight": "none", "file_insertion_enabled": False}
    tree = core.publish_doctree(
        path.read_text(), source_path=str(path), settings_overrides=settings
    )
    return tuple(
        Block(
            document,
            next((name for name in node["classes"] if name != "code"), ""),
            node.astext(),
        )
        for node in tree.findall(nodes.literal_block)
        # The others are directives of Sphinx.
        if not isinstance(node.parent, nodes.system_message)
    )
