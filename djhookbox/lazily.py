"""Packages that import what they offer when it is first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package.

    Args:
        package: Its name; it is being imported.
        homes: The module of each name, relative to the package; "" if the name is a module itself.

    """
    namespace = vars(sys.modules[package])

    def resolve(name: str) -> object:
        try:
            home = homes[name]
        except KeyError:
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        if not home:
            return import_module(f".{name}", package)
        value: object = getattr(import_module(f".{home}", package), name)
        namespace[name] = value  # not called again for this name
        return value

    return resolve, lambda: sorted({*namespace, *homes})
