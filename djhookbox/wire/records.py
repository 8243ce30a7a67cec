"""Convert frozen dataclasses, the records of the contract, to JSON objects and forms and back.

A record's annotations define the values of its fields:

* `str`, `int`, `float`, `bool`, and `object` for any JSON value;
* `Name` for a string that can be the name of a channel or a user, and other `Named` strings;
* `X | None`, `tuple[X, ...]` for a list, `Mapping[str, X]` for an object, and other records.

A field without a default is required. Its metadata may set its name in JSON and
forms (`{"as": "name"}`), make an empty text a value in a form too (`{"empty": True}`), and name the
value that replaces an invalid one in JSON (`{"invalid": …}`). Unknown fields are ignored, because
the other side may be newer. The readers and writers of a record are
created once, when it is first used.
"""

from __future__ import annotations

import math
import sys
import types
import typing
from collections.abc import Callable, Container, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, TypeAlias, TypeVar

from . import names, values

Record = TypeVar("Record")


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


#: The default of a field for which null is a value.
ABSENT: Any = _Absent()


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
_Reader = Callable[[object, str, bool], Any]


@dataclass(frozen=True, slots=True)
class _Field:
    """The properties of a record's field, computed once.

    Attributes:
        attribute: Its name in the record.
        name: Its name in JSON and forms.
        reader: Reads its value.
        text: Converts its text in a form to a value.
        is_required: Whether it has no default.
        takes_none: Whether null is one of its values.
        takes_empty: Whether an empty text is a value in a form.
        is_spread: Whether it takes all fields that no other field takes.
        is_plain: Whether its values are JSON without conversion.
        default: Its default, or MISSING if it has none.
        substitute: The value that replaces an invalid one, or MISSING if it is refused.

    """

    attribute: str
    name: str
    reader: _Reader
    text: Callable[[str, str], object]
    is_required: bool
    takes_none: bool
    takes_empty: bool
    is_spread: bool
    is_plain: bool
    default: Any
    substitute: Any


#: Types whose values are JSON without conversion.
_PLAIN = (str, int, float, bool, object, type(None))

_FIELDS: dict[type, tuple[_Field, ...]] = {}


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


def spread() -> Any:
    """Declare the field that takes all JSON values that no other field takes."""
    return field(default_factory=dict, metadata={"spread": True})


def read(
    kind: type[Record],
    data: object,
    *,
    lenient: bool = False,
    tolerated: list[FieldProblem] | None = None,
) -> Record:
    """Return the record described by a JSON object.

    Args:
        kind: The record's class.
        data: The object.
        lenient: Whether to treat a field with an invalid value as missing, and to omit invalid
            members of a list; for answers from other versions.
        tolerated: Receives the problems of fields whose invalid value was replaced.

    Raises:
        FieldProblem: If a field is missing or invalid, or `data` is not an object.

    """
    return _read(kind, data, "", lenient, tolerated)


def given(value: Any, otherwise: Any) -> Any:
    """Return a field's value, or another one if it is absent."""
    return otherwise if value is ABSENT else value


def write(record: object, *, defaults: bool = True) -> dict[str, Any]:
    """Return a record as a JSON object; omit fields that contain None.

    Args:
        record: The record.
        defaults: Whether to include the other fields that have their default. If they are omitted,
            None is included where it is not the default.

    """
    found: dict[str, Any] = {}
    for each in _fields(type(record)):
        value = getattr(record, each.attribute)
        is_omitted = value is None if defaults else value == each.default
        if is_omitted:
            continue
        if each.is_spread:
            found.update(_plain(value))
        else:
            found[each.name] = value if each.is_plain else _plain(value)
    return found


def to_form(record: object, encode: Callable[[object], str] = values.dumps) -> dict[str, str]:
    """Return a record as the fields of a form.

    Strings are unchanged, true is "1", numbers are written in digits and everything else as JSON.
    Empty strings, false and None are omitted.

    Args:
        record: The record.
        encode: Writes JSON, including values that are not plain JSON.

    """
    form: dict[str, str] = {}
    for each in _fields(type(record)):
        value, name = getattr(record, each.attribute), each.name
        if each.is_spread:
            form.update({key: encode(inner) for key, inner in value.items()})
        elif isinstance(value, bool):
            if value:
                form[name] = "1"
        elif isinstance(value, str):
            if value or each.takes_empty:
                form[name] = value
        elif isinstance(value, int | float):
            form[name] = str(value)
        elif value is not None:
            form[name] = encode(_plain(value))
    return form


def from_form(kind: type[Record], form: Mapping[str, str], ignored: Container[str] = ()) -> Record:
    """Return the record described by a form's fields; empty fields count as missing.

    Args:
        kind: The record's class.
        form: The fields.
        ignored: Fields that a `spread` field does not take, such as the secret.

    Raises:
        FieldProblem: If a field is missing or invalid.

    """
    given: dict[str, Any] = {}
    rest = dict(form)
    collecting: str | None = None
    for each in _fields(kind):
        if each.is_spread:
            collecting = each.attribute
            continue
        name = each.name
        text = rest.pop(name, None)
        if text is None or (not text and not each.takes_empty):
            if each.is_required:
                raise FieldProblem(name)
            continue
        given[each.attribute] = each.reader(each.text(name, text), name, False)
    if collecting is not None:
        given[collecting] = {
            name: _json(name, text) for name, text in rest.items() if text and name not in ignored
        }
    return kind(**given)


# ---- parts -----------------------------------------------------------------


def _json(name: str, text: str) -> Any:
    try:
        return values.loads(text)
    except ValueError as error:
        raise FieldProblem(name, Fault.JSON) from error


def _string_of(name: str, text: str) -> object:
    return text


def _boolean_of(name: str, text: str) -> object:
    return text in ("1", "true", "True")


def _integer_of(name: str, text: str) -> object:
    # int() also takes spaces, signs, underscores and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise FieldProblem(name, Fault.WHOLE)
    return int(text)


def _text_reader(kinds: Container[Any]) -> Callable[[str, str], object]:
    """Return a function that converts a form's text to a value of one of these types."""
    if str in kinds:
        return _string_of
    if bool in kinds:
        return _boolean_of
    return _integer_of if int in kinds else _json


def _kinds(kind: Any) -> tuple[Any, ...]:
    inside = typing.get_args(kind) if _is_union(kind) else (kind,)
    return tuple(str if _limit(inner) else inner for inner in inside)


def _read(
    kind: type[Record],
    data: object,
    path: str,
    lenient: bool,
    tolerated: list[FieldProblem] | None = None,
) -> Record:
    if not isinstance(data, Mapping):
        raise FieldProblem(path or kind.__name__, Fault.OBJECT)
    given: dict[str, Any] = {}
    known = _fields(kind)
    for each in known:
        name = each.name
        if each.is_spread:
            taken = {other.name for other in known}
            given[each.attribute] = {key: data[key] for key in data if key not in taken}
            continue
        where = f"{path}.{name}" if path else name
        value = data.get(name)
        if value is None and not (each.takes_none and name in data):
            if each.is_required:
                raise FieldProblem(where)
            continue
        try:
            given[each.attribute] = each.reader(value, where, lenient)
        except FieldProblem as problem:
            if each.substitute is not MISSING:
                given[each.attribute] = each.substitute
                if tolerated is not None:
                    tolerated.append(problem)
            elif not lenient or each.is_required:
                raise
    return kind(**given)


def _fields(kind: type[Any]) -> tuple[_Field, ...]:
    known = _FIELDS.get(kind)
    if known is not None:
        return known
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]), include_extras=True)
    found = []
    for each in fields(kind):
        kinds = _kinds(hints[each.name])
        found.append(
            _Field(
                attribute=each.name,
                name=each.metadata.get("as", each.name),
                reader=_reader(hints[each.name]),
                text=_text_reader(kinds),
                is_required=each.default is MISSING and each.default_factory is MISSING,
                takes_none=object in kinds or type(None) in kinds,
                takes_empty=bool(each.metadata.get("empty")),
                is_spread=bool(each.metadata.get("spread")),
                is_plain=all(inner in _PLAIN for inner in kinds),
                default=each.default,
                substitute=each.metadata.get("invalid", MISSING),
            )
        )
    return _FIELDS.setdefault(kind, tuple(found))


def _plain(value: Any) -> Any:
    """Return a value with its records converted to objects, and its tuples to lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return write(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        return [_plain(inner) for inner in value]
    return value


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _limit(kind: Any) -> int:
    """Return the maximum length of a `Named` string in characters, or 0 for other types."""
    extras = getattr(kind, "__metadata__", ())
    return next((extra.limit for extra in extras if isinstance(extra, Named)), 0)


def _reader(kind: Any) -> _Reader:
    if limit := _limit(kind):
        return _name_reader(limit)
    if _is_union(kind):
        inner = [_reader(each) for each in typing.get_args(kind) if each is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"{kind} is not a supported field type")
        only = inner[0]
        return lambda value, path, lenient: None if value is None else only(value, path, lenient)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return _list_reader(_reader(inside[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(_reader(inside[0]), _reader(inside[1]))
    if is_dataclass(kind):
        record: Any = kind
        return lambda value, path, lenient: _read(record, value, path, lenient)
    try:
        return _SIMPLE[kind]
    except KeyError:
        raise TypeError(f"{kind} is not a supported field type") from None


def _list_reader(member: _Reader) -> _Reader:
    def reader(value: object, path: str, lenient: bool) -> tuple[Any, ...]:
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


def _mapping_reader(key: _Reader, member: _Reader) -> _Reader:
    def reader(value: object, path: str, lenient: bool) -> dict[str, Any]:
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


def _name_reader(limit: int) -> _Reader:
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


def _anything(value: object, path: str, lenient: bool) -> object:
    return value


_SIMPLE: Mapping[Any, _Reader] = {
    str: _string,
    bool: _boolean,
    int: _integer,
    float: _number,
    object: _anything,
}
