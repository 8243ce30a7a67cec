"""The npm package as its users get it: packed, installed, and processed by their tools."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .needs import need

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "djhookbox" / "static" / "djhookbox"
NPM = ROOT / "tests" / "npm"

pytestmark = [pytest.mark.slow]

RUN = {
    "names": {
        "today": ["function"] * 3,
        "legacy": ["function"] * 2,
        "classic": ["function", True],
    },
    "requests": ["/csp/handshake", "/csp/handshake"],
}


def run(*arguments: str | Path, cwd: Path) -> str:
    result = subprocess.run(
        [str(each) for each in arguments],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout


@pytest.fixture(scope="module")
def tools() -> Path:
    """Install the tools once."""
    need(shutil.which("npm"), "npm is not installed")
    stamp = NPM / "node_modules" / ".installed"
    wanted = (NPM / "package-lock.json").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        result = subprocess.run(
            ["npm", "ci", "--silent", "--no-audit", "--no-fund"],
            cwd=NPM, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        need(result.returncode == 0, f"npm ci failed: {result.stderr[-2000:]}")
        stamp.write_text(wanted)
    return NPM / "node_modules"


@pytest.fixture(scope="module")
def packed(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack the package as `npm publish` would."""
    folder = tmp_path_factory.mktemp("packed")
    run("npm", "pack", "--silent", "--pack-destination", folder, cwd=CLIENT)
    (archive,) = folder.glob("djhookbox-*.tgz")
    run("tar", "-xzf", archive, cwd=folder)
    return folder / "package"


@pytest.fixture
def project(packed: Path, tools: Path, tmp_path: Path) -> Path:
    """Copy the project, with the package and the tools where npm would install them."""
    target = tmp_path / "project"
    shutil.copytree(NPM / "project", target)
    # The same code as CommonJS, for TypeScript.
    shutil.copy(target / "src" / "types.ts", target / "src" / "types.cts")
    modules = target / "node_modules"
    modules.mkdir()
    for each in tools.iterdir():
        (modules / each.name).symlink_to(each)
    shutil.copytree(packed, modules / "djhookbox")
    return target


def test_it_holds_a_readme_a_licence_and_what_it_exports(packed: Path):
    names = {path.name for path in packed.iterdir()}
    assert {"README.md", "LICENSE", "package.json"} <= names
    assert (packed / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    package = json.loads((packed / "package.json").read_text())

    def targets(value: object) -> list[str]:
        if isinstance(value, str):
            return [value]
        assert isinstance(value, dict)
        return [target for each in value.values() for target in targets(each)]

    for target in targets(package["exports"]):
        assert (packed / target).is_file(), target
    assert not [name for name in names if name.startswith("admin")]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (
            "esbuild",
            ["src/run.js", "--bundle", "--splitting", "--format=esm", "--minify",
             "--platform=node", "--outdir=dist/esbuild", "--out-extension:.js=.mjs"],
        ),
        ("vite", ["build", "--logLevel", "warn"]),
    ],
)  # fmt: skip
def test_bundlers_split_off_what_is_loaded_later(project: Path, tool: str, arguments: list[str]):
    run(project / "node_modules" / ".bin" / tool, *arguments, cwd=project)
    made = project / "dist" / tool
    assert json.loads(run("node", made / "run.mjs", cwd=project)) == RUN
    assert len(list(made.rglob("*js"))) > 1


def test_webpack_has_no_complaint(project: Path):
    script = """
    const webpack = require("webpack");
    webpack(require("./webpack.config.cjs"), (error, stats) => {
      const { warnings, errors } = stats.toJson();
      console.log(JSON.stringify([error, ...warnings, ...errors].filter(Boolean).map(String)));
    });
    """
    (project / "build.cjs").write_text(script)
    assert json.loads(run("node", "build.cjs", cwd=project)) == []
    assert json.loads(run("node", "dist/webpack/run.mjs", cwd=project)) == RUN


def test_jest_runs_it_as_it_is(project: Path):
    run(project / "node_modules" / ".bin" / "jest", cwd=project)


@pytest.mark.parametrize("mode", ["node16", "bundler"])
def test_typescript_knows_it(project: Path, mode: str):
    run(project / "node_modules" / ".bin" / "tsc", "-p", f"tsconfig.{mode}.json", cwd=project)


def test_node_takes_it_either_way(project: Path):
    assert json.loads(run("node", "src/run.js", cwd=project)) == RUN
    script = (
        "const { connect } = require('djhookbox'); const c = require('djhookbox/classic');"
        "console.log(typeof connect, typeof c.logging, require('djhookbox/package.json').name)"
    )
    assert run("node", "-e", script, cwd=project) == "function object djhookbox\n"
