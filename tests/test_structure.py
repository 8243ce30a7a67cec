"""Which modules may import which others, checked by each module's import statements."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import djhookbox
import djhookbox.exceptions
import djhookbox.testing
from djhookbox.wire import closing

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "djhookbox"
LONGEST = 450  # lines; usually a module stays under 400

HTTP_CLIENTS = ("requests", "aiohttp", "urllib.request", "http.client", "urllib3", "socket")

#: What packages of the site never import that are used by views, pages and commands.
SITE_ONLY = (
    "django.http", "djhookbox.admin", "djhookbox.client", "djhookbox.server", "djhookbox.views",
    *HTTP_CLIENTS,
)  # fmt: skip
ABOVE_THE_ENGINE = tuple(
    f"djhookbox.server.{name}"
    for name in ("channels", "clients", "front", "protocol", "rest", "site", "transports")
)
ABOVE_THE_CORE = (*ABOVE_THE_ENGINE, "djhookbox.server.engine")

#: Module or package → what neither it nor anything below it imports, not even in a function.
NEVER = {
    "djhookbox.__init__": ("django", "djhookbox.server"),
    "djhookbox.conf": ("djhookbox.models", "djhookbox.server"),
    "djhookbox.checks": (*HTTP_CLIENTS, "djhookbox.client", "djhookbox.server"),
    "djhookbox.exceptions": ("djhookbox",),
    "djhookbox.models": ("djhookbox.views", "djhookbox.admin", "djhookbox.client"),
    "djhookbox.audit": ("djhookbox.views", "djhookbox.admin", "djhookbox.client"),
    "djhookbox.querysets": ("django.http", "djhookbox.client", *HTTP_CLIENTS),
    "djhookbox.policy": ("django.http", "django.db"),
    "djhookbox.decisions": ("django.http", "djhookbox.server"),
    "djhookbox.api": ("requests", "djhookbox.server"),
    "djhookbox.handlers": ("djhookbox.models", "djhookbox.views"),
    "djhookbox.views": ("requests", "djhookbox.server"),
    "djhookbox.urls": ("djhookbox.models",),
    "djhookbox.signals": ("djhookbox",),
    "djhookbox.receivers": ("djhookbox.views", "djhookbox.admin"),
    "djhookbox.client": ("djhookbox.models", "djhookbox.server"),
    "djhookbox.process": ("django.db", "djhookbox.models", "djhookbox.server"),
    "djhookbox.admin": ("djhookbox.server",),
    "djhookbox.bans": (*SITE_ONLY, "djhookbox.decisions"),
    "djhookbox.bans.rules": ("django.db", "djhookbox.models"),
    "djhookbox.batches": ("djhookbox.admin", "djhookbox.client", "djhookbox.server"),
    "djhookbox.benchmark": (
        "django.db",
        "djhookbox.client",
        "djhookbox.conf",
        "djhookbox.models",
        "djhookbox.server",
    ),
    "djhookbox.commandline": ("djhookbox.server", "djhookbox.admin", "djhookbox.views"),
    "djhookbox.doctor": ("djhookbox.server", "djhookbox.admin", "djhookbox.views"),
    "djhookbox.genuine": ("django.db", "djhookbox.models", "djhookbox.server"),
    "djhookbox.measurements": (*SITE_ONLY, "djhookbox.conf", "djhookbox.decisions"),
    "djhookbox.outbox": ("django.http", "djhookbox.views", "djhookbox.admin", "djhookbox.server"),
    "djhookbox.revocations": (*SITE_ONLY, "djhookbox.decisions"),
    "djhookbox.users": ("djhookbox.admin", "djhookbox.client", "djhookbox.server"),
    "djhookbox.templatetags": ("djhookbox.models",),
    "djhookbox.testing": ("tests",),
    "djhookbox.wire": ("django", "asyncio", "time", "gettext", *HTTP_CLIENTS),
    "djhookbox.server.protocol": ("asyncio", "djhookbox.server.core", *HTTP_CLIENTS),
    "djhookbox.server.core": (*ABOVE_THE_CORE, "asyncio", "time", *HTTP_CLIENTS),
    "djhookbox.server.engine": (*ABOVE_THE_ENGINE, *HTTP_CLIENTS),
    "djhookbox.server.transports": ("djhookbox.server.engine", "djhookbox.server.front"),
    "djhookbox.server.rest": ("djhookbox.server.transports",),
    "djhookbox.server.channels": ("djhookbox.server.transports", "djhookbox.server.rest"),
    "djhookbox.server.site": ("djhookbox.server.transports", "djhookbox.server.rest"),
    "djhookbox.server.metrics": ("djhookbox",),
    "djhookbox.workers": ("django.db", "djhookbox.models", "djhookbox.conf", "djhookbox.client"),
    "djhookbox.workers.place": ("django", "djhookbox.server"),
    "djhookbox.workers.supervisor": ("django", "djhookbox.server"),
}

#: The packages of the server, and the connection that all but the lowest know, from the lowest to
#: the highest → what they import of the others.
SERVER = {
    "core": (),
    "protocol": (),
    "engine": ("core",),
    "connection": ("core", "protocol"),
    "channels": ("core", "engine", "protocol", "connection"),
    "site": ("core", "channels", "connection"),
    "clients": ("core", "protocol", "connection", "channels", "site"),
    "rest": ("core", "engine", "connection", "channels", "site", "clients"),
    "transports": ("protocol", "connection", "clients"),
    "front": ("protocol", "clients", "rest", "transports"),
}

#: Enumerations that the ORM's package happens to hold: no database behind them.
HARMLESS = ("django.db.models.TextChoices", "django.db.models.IntegerChoices")

#: As above, but only while the module is imported: Django's registry is not ready then.
NEVER_AT_IMPORT = {
    "djhookbox.apps": ("djhookbox.models", "django.contrib.auth.models"),
    "djhookbox.checks.cookies": ("djhookbox.models", "django.contrib.auth.models"),
    "djhookbox.checks.settings": ("djhookbox.models", "django.contrib.auth.models"),
}

#: What only these may import.
ONLY = {
    "requests": ("djhookbox.client.http",),
    "aiohttp": ("djhookbox.server",),
    "redis": ("djhookbox.server.engine.redis", "djhookbox.process.engines"),
    "djhookbox.workers": ("djhookbox.workers", "djhookbox.management"),
    "djhookbox.genuine": (
        "djhookbox.genuine",
        "djhookbox.client.http",
        "djhookbox.management",
        "djhookbox.parsing",
    ),
    "djhookbox.benchmark": ("djhookbox.benchmark", "djhookbox.commandline"),
    "djhookbox.server": (
        "djhookbox.server",
        "djhookbox.management.commands.runhookbox",
        "djhookbox.management.configuring",
        "djhookbox.testing.clients",
        "djhookbox.testing.inprocess",
        "djhookbox.workers.running",
    ),
    "djhookbox.testing": ("djhookbox.testing", "djhookbox.pytest_plugin"),
}


@cache
def modules() -> dict[str, Path]:
    """Return each module by its dotted name; a package's own module is `….__init__`."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether a dotted name is one of the prefixes or below one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@cache
def imports(module: str, source: str, *, nested: bool = True) -> tuple[tuple[int, str], ...]:
    """Return line and absolute name of each import, except those for the type checker."""
    package = module.split(".")[:-1]

    def walk(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                for alias in node.names:
                    yield node.lineno, f"{base}.{alias.name}"
            elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                yield from walk(node.orelse)
            elif nested or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(ast.iter_child_nodes(node))

    return tuple(walk(ast.parse(source).body))


def offences(
    module: str, path: Path, forbidden: tuple[str, ...], *, nested: bool = True
) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imports(module, path.read_text(), nested=nested)
        if within(name, forbidden) and name not in HARMLESS
    ]


#: Code that changes a channel of the core: allowed only after the engine has accepted it.
CHANGES = re.compile(
    r"hub\.(apply|connect|create_channel|destroy_channel|detach|set_options|set_state"
    r"|subscribe|unsubscribe)\("
    r"|engine\.propose\("
    r"|\b(channel|subscription|user)\.\w+(\.\w+)? [-+|]?= "
)
#: Where that may stand, besides the core itself; the second one applies what other nodes have had
#: accepted.
CHANGED_BY = {"server/channels/proposals.py", "server/channels/replication.py"}


def test_channels_change_in_one_place_only() -> None:
    server = PACKAGE / "server"
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in server.rglob("*.py")
        if (server / "core") not in path.parents and CHANGES.search(path.read_text())
    }
    assert found == CHANGED_BY


def test_the_reader_of_imports_sees_every_form() -> None:
    source = """
import os, a.b as c
from . import sibling
from ..core import hub as h
from .deep.er import thing
if typing.TYPE_CHECKING:
    from hidden import Type
else:
    import shown
try:
    import tried
except ImportError:
    pass
class K:
    import inside
async def f():
    from late import x
"""
    module = "djhookbox.server.transports.websocket"
    found = {name for _line, name in imports(module, source)}
    assert found == {
        "os", "a.b", "djhookbox.server.transports.sibling", "djhookbox.server.core.hub",
        "djhookbox.server.transports.deep.er.thing", "shown", "tried", "inside", "late.x",
    }  # fmt: skip
    assert found - {name for _line, name in imports(module, source, nested=False)} == {"late.x"}
    assert [name for _line, name in imports("djhookbox.__init__", "from . import urls")] == [
        "djhookbox.urls"
    ]
    assert within("django.db.models", ("django.db",))
    assert not within("djangorestframework", ("django",))


@pytest.mark.parametrize(("subject", "forbidden"), NEVER.items(), ids=NEVER)
def test_never_imports(subject: str, forbidden: tuple[str, ...]) -> None:
    subjects = {name: path for name, path in modules().items() if within(name, (subject,))}
    assert subjects, f"{subject} is in the rules, but not in the package"
    assert [o for name, path in subjects.items() for o in offences(name, path, forbidden)] == []


@pytest.mark.parametrize(("subject", "forbidden"), NEVER_AT_IMPORT.items(), ids=NEVER_AT_IMPORT)
def test_never_imports_while_being_imported(subject: str, forbidden: tuple[str, ...]) -> None:
    assert offences(subject, modules()[subject], forbidden, nested=False) == []


@pytest.mark.parametrize(("subject", "users"), ONLY.items(), ids=ONLY)
def test_is_imported_by_nobody_else(subject: str, users: tuple[str, ...]) -> None:
    others = {name: path for name, path in modules().items() if not within(name, users)}
    assert [o for name, path in others.items() for o in offences(name, path, (subject,))] == []


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        ("djhookbox.server", ("djhookbox.server", "djhookbox.wire")),
        ("djhookbox.wire", ("djhookbox.wire",)),
        (
            "djhookbox.policy",
            ("djhookbox.policy", "djhookbox.exceptions", "djhookbox.wire", "django"),
        ),
    ],
)
def test_what_stands_below_imports_nothing_of_ours_from_above(
    subject: str, allowed: tuple[str, ...]
) -> None:
    strangers = [
        f"{module}:{line} imports {name}"
        for module, path in modules().items()
        if within(module, (subject,))
        for line, name in imports(module, path.read_text())
        if within(name, ("djhookbox", "django", "django_hookbox", "model_utils"))
        and not within(name, allowed)
    ]
    assert strangers == []


@pytest.mark.parametrize(("subject", "allowed"), SERVER.items(), ids=SERVER)
def test_packages_of_the_server_import_only_what_stands_below(
    subject: str, allowed: tuple[str, ...]
) -> None:
    root = "djhookbox.server"
    packages = tuple(f"{root}.{name}" for name in SERVER)
    below = (f"{root}.{subject}", *(f"{root}.{name}" for name in allowed))
    subjects = [name for name in modules() if within(name, (below[0],))]
    assert subjects
    found = set()
    for module in subjects:  # grows: modules outside the packages must not lead past them
        for _line, name in imports(module, modules()[module].read_text()):
            if within(name, packages):
                found.add(name)
            elif (outside := ".".join(name.split(".")[:3])) in modules() and within(name, (root,)):
                subjects += [outside] if outside not in subjects else []
    assert [name for name in sorted(found) if not within(name, below)] == []
    assert [each for each in below[1:] if not any(within(name, (each,)) for name in found)] == []


def test_nothing_but_the_program_imports_the_whole_server() -> None:
    users = ("djhookbox.server.app", "djhookbox.server.inprocess", "djhookbox.server.running",
             "djhookbox.server.rehearsal")  # fmt: skip
    others = {name: path for name, path in modules().items() if not within(name, users)}
    assert [o for name, path in others.items() for o in offences(name, path, users[:1])] == []


def test_modules_are_named_for_what_they_hold() -> None:
    vague = {"common", "helpers", "manager", "misc", "tools", "util", "utils"}
    assert [name for name in modules() if vague & set(name.split("."))] == []


def test_json_is_read_and_written_in_one_way() -> None:
    """Neither the server nor the webhooks read JSON past `wire.values`."""
    strict = ("djhookbox.server", "djhookbox.parsing", "djhookbox.options", "djhookbox.client",
              "djhookbox.views", "djhookbox.decisions.files", "djhookbox.api")  # fmt: skip
    readers = [
        f"{module}:{line}"
        for module, path in modules().items()
        if within(module, strict)
        for line, name in imports(module, path.read_text())
        if within(name, ("json",))
    ]
    assert readers == []


def test_the_server_runs_without_django() -> None:
    """Import every module of the server in a process that has neither Django nor requests."""
    names = [
        name.removesuffix(".__init__")
        for name in modules()
        if within(name, ("djhookbox.server", "djhookbox.wire"))
    ]
    script = f"""
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("django", "requests", "model_utils"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
for name in {names!r}:
    importlib.import_module(name)
print(len({names!r}))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == len(names) > 10


def test_one_module_knows_the_private_state_of_transactions() -> None:
    private = re.compile(r"\.(run_on_commit|savepoint_ids|atomic_blocks|commit_on_exit)\b")
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if private.search(path.read_text())
    }
    assert found == {"commits.py"}


def test_only_conf_reads_our_settings() -> None:
    readers = {
        f"{module}:{node.lineno}"
        for module, path in modules().items()
        if not within(module, ("djhookbox.conf",))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("HOOKBOX_")
    }
    assert readers == set()


def test_the_browser_client_needs_no_third_party() -> None:
    """ES modules are unbuilt and import each other by relative paths only."""
    comments = re.compile(r"/\*.*?\*/|^\s*//.*?$", re.DOTALL | re.MULTILINE)
    pattern = re.compile(r"""(?:\bfrom\s*|\bimport\s*\(?\s*)(["'])(?P<where>[^"']+)\1""")
    scripts = sorted((PACKAGE / "static").rglob("*.js"))
    assert scripts
    found = [
        (script, match["where"])
        for script in scripts
        for match in pattern.finditer(comments.sub("", script.read_text()))
    ]
    assert found, "the client is made of several modules"
    for script, where in found:
        assert where.startswith(("./", "../")), f"{script.name} imports {where}"
        assert (script.parent / where).exists(), f"{script.name} imports {where}"


def test_stand_ins_import_only_the_contract() -> None:
    """Benchmarks and tests import them, in processes with Django and without."""
    stand_ins = sorted((ROOT / "tests" / "stand_ins").glob("*.py"))
    assert stand_ins
    for path in stand_ins:
        module = f"tests.stand_ins.{path.stem}"
        for line, name in imports(module, path.read_text(), nested=False):
            ours = within(name, ("bench", "tests", "djhookbox", "django"))
            allowed = ("tests.stand_ins", "djhookbox.wire")
            assert not ours or within(name, allowed), f"{path.name}:{line} imports {name}"


@pytest.mark.parametrize("name", [name for name in modules() if ".migrations." not in name])
def test_modules_stay_readable(name: str) -> None:
    lines = len(modules()[name].read_text().splitlines())
    assert lines <= LONGEST, f"{name} has {lines} lines; find the part that wants its own module"


def test_the_reference_lists_every_setting_and_no_other() -> None:
    pattern = re.compile(r"HOOKBOX_[A-Z][A-Z_]*[A-Z]")
    readers = sorted((PACKAGE / "conf").glob("*.py"))
    known = set(pattern.findall("".join(file.read_text() for file in readers)))
    table = (ROOT / "docs/reference/settings.rst").read_text()
    rows = {name for name in known if f"\n``{name}``  " in table}
    assert rows == known
    documents = [ROOT / "README.rst", *(ROOT / "docs").rglob("*.rst")]
    named = set(pattern.findall("".join(document.read_text() for document in documents)))
    assert named - known <= {"HOOKBOX_CLIENT", "HOOKBOX_TEST_EXAMPLES"}  # not settings


def described(document: str, directive: str) -> set[str]:
    """Return what a reference page describes with this directive."""
    text = (ROOT / "docs/reference" / document).read_text()
    return set(re.findall(rf"^\.\. {directive}:: (\S+)$", text, re.M))


def test_the_reference_lists_every_check_and_no_other() -> None:
    sources = "".join(path.read_text() for path in modules().values())
    assert described("checks.rst", "check") == set(re.findall(r"djhookbox\.[EIW]\d{3}", sources))


def test_the_reference_lists_every_close_code() -> None:
    closed = [value for value in vars(closing).values() if isinstance(value, closing.Disconnect)]
    codes = {str(reason.code) for reason in closed}
    assert described("errors.rst", "closecode") >= codes


def test_the_reference_describes_every_public_name() -> None:
    text = (ROOT / "docs/reference/python.rst").read_text()
    described = set(re.findall(r"^\.\. auto\w+:: (?:djhookbox\.)?(\w+)$", text, re.M))
    # `automodule` describes the signals and exceptions.
    modules_of = {"__version__", "signals", *vars(djhookbox.exceptions)}
    public = {*djhookbox.__all__, *djhookbox.testing.__all__}
    assert public - modules_of <= described
