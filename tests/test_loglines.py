"""External input in log lines is escaped by one function on both sides."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

from djhookbox.wire import loglines
from djhookbox.wire.loglines import LONGEST, printable

PACKAGE = Path(loglines.__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain text, with spaces", "plain text, with spaces"),
        ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
        ("a\nb", r"a\nb"),
        ("a\r\nWARNING forged", r"a\r\nWARNING forged"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("nul\x00", r"nul\x00"),
        ("del\x7f", r"del\x7f"),
        ("c1 \x9b31m", r"c1 \x9b31m"),
        ("next line\x85", r"next line\x85"),
        ("\t tab \v \f", r"\t tab \x0b \x0c"),
        ("\u2028 line \u2029 paragraph", r"\u2028 line \u2029 paragraph"),
        ("\u202ereversed\u202c", r"\u202ereversed\u202c"),
        ("\u2066isolated\u2069", r"\u2066isolated\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("no-break\u00a0space", r"no-break\xa0space"),
        ("lone \ud800 surrogate", r"lone \ud800 surrogate"),
        ("private \ue000", r"private \ue000"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("x" * (LONGEST + 1), "x" * LONGEST + "…"),
        ("\n" * (LONGEST + 1), r"\n" * LONGEST + "…"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(text).isprintable()


def test_a_limit() -> None:
    assert printable("abcdef", 3) == "abc…"
    assert printable("abc", 3) == "abc"


class Named:
    """An object whose text is chosen by an attacker."""

    def __str__(self) -> str:
        return "named\nforged"

    def __repr__(self) -> str:
        return "<named\x1b>"


@pytest.mark.parametrize("name", loglines.LOGGERS)
@pytest.mark.parametrize(
    ("message", "args", "line"),
    [
        ("%s came", ("a\nb",), r"a\nb came"),
        ("%r came", ("a\nb",), r"'a\nb' came"),
        ("%.3s and %.5r", ("a\nbc", "a\nbc"), r"a\n and 'a\nb"),
        ("%d of %.1f and %s", (3, 2.5, None), "3 of 2.5 and None"),
        ("%s", (ValueError("wrong:\n\x1b[31m"),), r"wrong:\n\x1b[31m"),
        ("%s %r", (Named(), Named()), r"named\nforged <named\x1b>"),
        ("%s", (["a\n", {"b": "\x00"}],), r"['a\n', {'b': '\x00'}]"),
        ("%(who)s in %(n)d", ({"who": "a\r", "n": 1},), r"a\r in 1"),
        ("made\nof outside %%", (), r"made\nof outside %%"),
    ],
)
def test_each_logger_escapes(
    name: str, message: str, args: tuple[object, ...], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger=name):
        logging.getLogger(name).info(message, *args)
    assert caplog.records[-1].getMessage() == line


def test_an_exception_cannot_forge_a_record(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("odd\n2026-01-01 WARNING djhookbox all is well\x1b[2K")
    except ValueError:
        logging.getLogger("djhookbox.server").exception("It failed")
    lines = caplog.text.splitlines()
    assert "  2026-01-01 WARNING djhookbox all is well\\x1b[2K" in lines
    assert any("Traceback" in line for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])


@pytest.mark.once
def test_every_logger_of_the_package_is_known() -> None:
    """A new logger has to be listed, so that it gets the filter."""
    asked = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger"):
                asked.add(ast.unparse(node.args[0]).strip("'"))
    names = {name for name in asked if name.startswith("djhookbox")}
    assert names == set(loglines.LOGGERS) & names
    assert names >= {"djhookbox", "djhookbox.webhook", "djhookbox.server"}
    # This module's own loop, a constant, and the lines of runserver.
    assert asked - names <= {"name", "ACCESS", "django.server"}


def test_the_filter_is_there_once() -> None:
    loglines.install()
    for name in loglines.LOGGERS:
        filters = logging.getLogger(name).filters
        assert [isinstance(each, loglines.EscapingFilter) for each in filters].count(True) == 1
