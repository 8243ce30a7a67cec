"""The recorded conversations with Hookbox 0.3.3, and the tool that plays them."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..ports import free_port

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("HOOKBOX_PROTOCOL", ROOT.parent / "shared" / "protocol"))
#: More of them, which we have recorded with the genuine server: rows of its reference that the
#: others do not reach.
RECORDED = Path(__file__).parent / "recorded"
#: What the server does otherwise on purpose.
DEVIATIONS = json.loads((Path(__file__).parent / "deviations.json").read_text())


def load_replay() -> ModuleType | None:
    """Return the tool that plays transcripts; it comes with them, not with this package."""
    if "hookbox_replay" in sys.modules:
        return sys.modules["hookbox_replay"]
    path = FOLDER / "replay.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("hookbox_replay", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


replay = load_replay()

TRANSCRIPTS = replay.load([FOLDER / "transcripts", RECORDED]) if replay else []


def settings() -> Any:
    """Return how to play."""
    assert replay is not None
    return replay.Settings(
        json_payload=True,
        cookie_superset=True,
        patience=20.0,
        # Without these, it takes ports that the connections of other tests can take at any moment.
        ports=iter(free_port, None),
    )


def arguments_for(port: int, callback_port: int, options: Mapping[str, str]) -> list[str]:
    """Return the command line of the server of a transcript, with what clients of 2011 need."""
    arguments = ["-i", "127.0.0.1", "-p", str(port)]
    arguments += ["--jsonp", "--rest-get", "--allow-set-config"]
    arguments += ["--polling-host", "127.0.0.1", "--polling-host", "localhost"]
    arguments += ["--cbhost", "127.0.0.1", "--cbport", str(callback_port)]
    for name, value in options.items():
        arguments += [f"--{name}", value]
    return arguments
