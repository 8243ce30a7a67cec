"""The values of a record's fields: what is wrong with one, and how each type is read.

`records` documents the types.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Annotated, Any, TypeAlias

from . import names, values


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


#: The default of a field for which null is a value.
ABSENT = _Absent()


class Fault(Enum):
    """What is wrong with a field; the enum value is an English text."""

    MISSING = "is missing"
    JSON = "must be JSON"
    STRING = "must be a string"
    LENGTH = "is too long (at most {limit} characters)"
    CHARACTERS = "must not contain control characters"
    BOOLEAN = "must be true or false"
    WHOLE = "must be a whole number"
    NUMBER = "must be a number"
    LIST = "must be a list"
    OBJECT = "must be an object"


@dataclass(frozen=True, slots=True)
class Named:
    """Annotate a string that follows the rules for names, with a maximum length in characters."""

    limit: int


Name: TypeAlias = Annotated[str, Named(names.MAX_LENGTH)]

#: Reads a field from its value and its path; the flag makes it lenient.
Reader = Callable[[object, str, bool], Any]


class FieldProblem(ValueError):
    """A field that is missing or has an invalid value.

    Attributes:
        field: Its name, with the path to it if it is nested (`channels[2].name`).
        fault: What is wrong with it.
        limit: The maximum number of characters, if it has too many.

    """

    def __init__(self, field: str, fault: Fault = Fault.MISSING, limit: int = 0) -> None:
        super().__init__(field, fault, limit)
        self.field = field
        self.fault = fault
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.field} {self.fault.value.format(limit=self.limit)}"


def given(value: object, otherwise: object) -> Any:
    """Return a field's value, or another one if it is absent."""
    return otherwise if value is ABSENT else value


# ---- readers ---------------------------------------------------------------


def json_of(name: str, text: str) -> values.JSON:
    """Return the value of a form field that contains JSON."""
    try:
        return values.loads(text)
    except ValueError as error:
        raise FieldProblem(name, Fault.JSON) from error


def number_of(name: str, text: str) -> float:
    """Return the value of a form field that contains a number."""
    return _number(json_of(name, text), name, False)


def _boolean_of(name: str, text: str) -> object:
    return text in ("1", "true", "True")


def _integer_of(name: str, text: str) -> object:
    # int() also takes spaces, signs, underscores and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise FieldProblem(name, Fault.WHOLE)
    return int(text)


def text_reader(kinds: Container[object], value_reader: Reader) -> Callable[[str, str], object]:
    """Return the function that reads a value from a form: from the field's name and its text.

    Args:
        kinds: The types of the value.
        value_reader: Reads values of these types.

    """
    if str in kinds:
        return lambda name, text: value_reader(text, name, False)
    if bool in kinds:
        return _boolean_of
    if int in kinds:
        return _integer_of
    return lambda name, text: value_reader(json_of(name, text), name, False)


def is_union(kind: object) -> bool:
    """Return whether a type is a union."""
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def name_limit(kind: object) -> int:
    """Return the maximum length of a `Named` string in characters, or 0 for other types."""
    extras = getattr(kind, "__metadata__", ())
    return next((extra.limit for extra in extras if isinstance(extra, Named)), 0)


def reader(kind: object, record_reader: Callable[[type[object]], Reader]) -> Reader:
    """Return the function that reads values of a type.

    Args:
        kind: The type.
        record_reader: Returns the function that reads a record.

    """
    if limit := name_limit(kind):
        return _name_reader(limit)
    if is_union(kind):
        inner = [
            reader(each, record_reader) for each in typing.get_args(kind) if each is not type(None)
        ]
        if len(inner) != 1:
            raise TypeError(f"{kind} is not a supported field type")
        only = inner[0]
        return lambda value, path, lenient: None if value is None else only(value, path, lenient)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return _list_reader(reader(inside[0], record_reader))
    if origin is not None and issubclass(origin, Mapping):
        if inside == (str, object):
            return _object
        return _mapping_reader(reader(inside[0], record_reader), reader(inside[1], record_reader))
    if is_dataclass(kind):
        record: Any = kind
        return record_reader(record)
    try:
        return _SIMPLE[kind]
    except KeyError:
        raise TypeError(f"{kind} is not a supported field type") from None


def _list_reader(member: Reader) -> Reader:
    def reader(value: object, path: str, lenient: bool) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise FieldProblem(path, Fault.LIST)
        found = []
        for index, each in enumerate(value):
            try:
                found.append(member(each, f"{path}[{index}]", lenient))
            except FieldProblem:
                if not lenient:
                    raise
        return tuple(found)

    return reader


def _mapping_reader(key: Reader, member: Reader) -> Reader:
    def reader(value: object, path: str, lenient: bool) -> dict[str, object]:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise FieldProblem(path, Fault.OBJECT)
        found = {}
        for name, each in value.items():
            try:
                found[key(name, path, lenient)] = member(each, f"{path}.{name}", lenient)
            except FieldProblem:
                if not lenient:
                    raise
        return found

    return reader


_NAME_FAULTS = {
    names.Fault.TYPE: Fault.STRING,
    names.Fault.EMPTY: Fault.MISSING,
    names.Fault.LENGTH: Fault.LENGTH,
    names.Fault.CHARACTERS: Fault.CHARACTERS,
}


def _name_reader(limit: int) -> Reader:
    def reader(value: object, path: str, lenient: bool) -> object:
        fault = names.find_fault(value, limit)
        if fault is not None:
            raise FieldProblem(path, _NAME_FAULTS[fault], limit)
        return value

    return reader


def _string(value: object, path: str, lenient: bool) -> str:
    if not isinstance(value, str):
        raise FieldProblem(path, Fault.STRING)
    return value


def _boolean(value: object, path: str, lenient: bool) -> bool:
    if not isinstance(value, bool):
        raise FieldProblem(path, Fault.BOOLEAN)
    return value


def _integer(value: object, path: str, lenient: bool) -> int:
    # bool is an int in Python, but never a valid number here.
    if isinstance(value, bool) or not isinstance(value, int):
        raise FieldProblem(path, Fault.WHOLE)
    return value


def _number(value: object, path: str, lenient: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldProblem(path, Fault.NUMBER)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FieldProblem(path, Fault.NUMBER)
    return number


def _object(value: object, path: str, lenient: bool) -> dict[str, object]:
    """Read an object of any values."""
    # The first check takes much less time than the second.
    if type(value) is not dict and not isinstance(value, Mapping):
        raise FieldProblem(path, Fault.OBJECT)
    for name in value:
        if not isinstance(name, str):
            raise FieldProblem(path, Fault.OBJECT)
    return dict(value)


def _anything(value: object, path: str, lenient: bool) -> object:
    return value


_SIMPLE: Mapping[object, Reader] = {
    str: _string,
    bool: _boolean,
    int: _integer,
    float: _number,
    object: _anything,
}
