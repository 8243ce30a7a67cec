"""Run the browser client's unit tests with Node's test runner."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from djhookbox import __version__

from .needs import need

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "djhookbox" / "static" / "djhookbox"


def test_the_client_in_node():
    node = shutil.which("node")
    need(node, "Node is not installed")
    assert node
    files = sorted(str(path) for path in (ROOT / "tests" / "js").glob("*.test.js"))
    assert files
    result = subprocess.run(
        [node, "--test", *files], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert "# fail 0" in result.stdout


def test_modules_import_each_other_by_relative_names_only():
    """Without a build step nothing else resolves, and the import map counts on it."""
    for module in CLIENT.glob("*.js"):
        for line in module.read_text().splitlines():
            if line.startswith(("import ", "export {")) and " from " in line:
                target = line.split('"')[1]
                assert target.startswith("./"), (module.name, line)
                assert (module.parent / target).is_file(), (module.name, line)


#: Django's storages replace what looks like an import, in comments too, and give up after five
#: rounds; each round sets right what is one import further up.
LONGEST_CHAIN = 5
IMPORTED = re.compile(
    r"""(?:^(?:import|export)\b[^;]*?\bfrom\s*|\bimport\()["']([./][^"']+)["']""", re.M
)


def test_imports_make_no_circle_and_no_long_chain():
    imports = {
        module: {(module.parent / name).resolve() for name in IMPORTED.findall(module.read_text())}
        for module in CLIENT.rglob("*.js")
    }

    def longest(module: Path, above: tuple[Path, ...] = ()) -> int:
        assert module not in above, [path.name for path in (*above, module)]
        return max((1 + longest(one, (*above, module)) for one in imports[module]), default=0)

    lengths = {module.name: longest(module) for module in imports}
    assert lengths["legacy.js"] >= 4, "the expression finds the imports"
    assert {name: length for name, length in lengths.items() if length > LONGEST_CHAIN} == {}


def test_the_npm_package_is_of_the_same_version_and_has_what_it_names():
    package = json.loads((CLIENT / "package.json").read_text())
    assert package["version"] == __version__
    targets = json.dumps(package["exports"]).split('"./')[1:]
    for target in targets:
        name = target.split('"')[0]
        assert "." not in name or (CLIENT / name).is_file(), name
    assert f"djhookbox {__version__}," in (CLIENT / "hookbox.classic.js").read_text()[:200]


def test_members_with_short_names_are_the_clients_own():
    """What pages, frames and other tabs know by name keeps its name in the bundles."""
    listed = re.search(r"INTERNAL = `(.*?)`", (ROOT / "js" / "bundles.mjs").read_text(), re.S)
    assert listed
    internal = set(listed[1].split())
    assert len(internal) > 40
    types = "".join(path.read_text() for path in CLIENT.glob("*.d.*ts"))
    types = re.sub(r"/\*.*?\*/", "", types, flags=re.DOTALL)
    assert internal & set(re.findall(r"\w+", types)) == set()
    for name in internal:
        for module in CLIENT.glob("*.js"):
            if ".min." not in module.name and ".classic." not in module.name:
                assert f'"{name}"' not in module.read_text(), (name, module.name)
