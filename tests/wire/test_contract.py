"""Every record of the contract is an immutable value."""

from __future__ import annotations

import dataclasses
import pkgutil
from importlib import import_module

import pytest

from djhookbox import wire


def records() -> list[type]:
    """Return all dataclasses that the modules of the contract define."""
    modules = [
        import_module(f"{wire.__name__}.{module.name}")
        for module in pkgutil.iter_modules(wire.__path__)
    ]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and value.__module__ == module.__name__
    ]


@pytest.mark.parametrize("record", records(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_record_is_frozen_and_has_slots(record: type) -> None:
    assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__dict__" not in dir(record)
