"""The genuine Hookbox 0.3.3 of 2010, in a virtualenv of Python 2.7: `make genuine`.

It is installed from PyPI once, into `.hookbox27/`, and never checked in. With `make genuine` this
runs before anything else is installed, so it uses nothing but Python itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / ".hookbox27"
VENV = FOLDER / "venv"
PYTHON = VENV / "bin" / "python"
HOOKBOX = VENV / "bin" / "hookbox"
CLIENT = VENV / "lib/python2.7/site-packages/hookbox/static/hookbox.js"
COMPLETE = FOLDER / "complete"

#: Newer releases of what it needs have left Python 2 or Hookbox behind.
REQUIREMENTS = (
    "greenlet<2", "dnspython<2", "eventlet==0.25.2", "Paste==1.7.5.1", "static==0.4",
    "Pygments<2.6", "csp-eventlet==0.7.0", "rtjp-eventlet==0.3.2",
)  # fmt: skip


class Missing(Exception):
    """There is no genuine Hookbox here; the text says why."""


def _candidates() -> Iterator[Path]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((root / "versions").glob("2.7.*/bin/python2.7"), reverse=True)
    found = shutil.which("python2.7")
    if found:
        yield Path(found)


def _python27() -> Path:
    for python in _candidates():
        # One of pyenv's shims is there for versions that are switched off, too.
        if subprocess.run([python, "-c", "import ssl"], capture_output=True).returncode == 0:
            return python
    raise Missing("The genuine Hookbox needs Python 2.7: pyenv install 2.7.18")


def _run(*command: str | Path) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines() or ["nothing was said"]
        raise Missing(f"The genuine Hookbox could not be installed: {said[-1]}")


def install() -> None:
    """Install it, unless that has been done already.

    Raises:
        Missing: That is not possible here.

    """
    if COMPLETE.exists():
        return
    python = _python27()
    shutil.rmtree(FOLDER, ignore_errors=True)
    # The last virtualenv that makes environments for Python 2.7.
    _run(sys.executable, "-m", "venv", FOLDER / "maker")
    maker = FOLDER / "maker" / "bin" / "python"
    _run(maker, "-m", "pip", "install", "virtualenv<20.22")
    _run(maker, "-m", "virtualenv", "-p", python, VENV)
    _run(PYTHON, "-m", "pip", "install", "--no-deps", "hookbox==0.3.3")
    _run(PYTHON, "-m", "pip", "install", *REQUIREMENTS)
    _run(HOOKBOX, "--help")
    COMPLETE.touch()


if __name__ == "__main__":
    try:
        install()
    except Missing as error:
        sys.exit(str(error))
