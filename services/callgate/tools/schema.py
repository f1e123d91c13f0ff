"""The strict JSON Schema of a function's parameters, from its annotations.

Strict means: nothing beyond the declared parameters is accepted, at any depth, and whatever has no default is required.
A signature that JSON can't express is refused at registration: a guess would let through what nobody meant.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from callgate.tools import pydantic_models
from callgate.tools.binding import convertible
from callgate.tools.tool import CALL, Call
from callgate.tools.untypable import Untypable

__all__ = ["Signature", "Untypable", "read_signature"]

Schema = dict[str, Any]

_SCALARS: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    Any: {},
    object: {},
}
_LISTS = (list, collections.abc.Sequence)
_SETS = (set, frozenset)
_MAPPINGS = (dict, collections.abc.Mapping)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function's signature says of its calls."""

    parameters: Schema
    takes_call: bool
    types: Mapping[str, Any]
    """The resolved annotation of each parameter."""


def read_signature(function: Callable[..., Any]) -> Signature:
    """The schema of a function's parameters. Raises `Untypable`."""
    hints = _hints(function)
    properties: Schema = {}
    required: list[str] = []
    kinds: dict[str, Any] = {}
    takes_call = False
    for name, parameter in _parameters(function).items():
        if name == CALL and hints.get(name, Call) is Call:
            takes_call = True
            continue
        if parameter.kind in _VARIADIC or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            message = f"parameter `{name}` can't be passed by name"
            raise Untypable(message)
        if name not in hints:
            message = f"parameter `{name}` has no annotation"
            raise Untypable(message)
        properties[name] = _schema(hints[name], f"parameter `{name}`", ())
        _check_convertible(hints[name], f"parameter `{name}`")
        kinds[name] = hints[name]
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
        else:
            properties[name] = _with_default(properties[name], parameter.default)
    return Signature(_object(properties, required), takes_call, kinds)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Builtins and some wrappers have no signature to read."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        message = "it has no signature that can be read"
        raise Untypable(message) from error


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations, resolved in the module that wrote them, also when they are postponed."""
    target: Any = function.func if isinstance(function, functools.partial) else inspect.unwrap(function)
    if not (inspect.isfunction(target) or inspect.ismethod(target)):
        target = type(target).__call__
    return _resolved(target, "its annotations")


def _resolved(target: Any, what: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        message = f"{what} can't be resolved ({error})"
        raise Untypable(message) from error


def _schema(annotation: Any, place: str, within: tuple[type, ...]) -> Schema:
    """The schema of one annotation. `within` are the classes around it, to find one that contains itself."""
    if _hashable(annotation) and annotation in _SCALARS:
        return dict(_SCALARS[annotation])
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *notes = typing.get_args(annotation)
        described = next((note for note in notes if isinstance(note, str)), None)
        schema = _schema(inner, place, within)
        return {**schema, "description": described} if described else schema
    if origin in (typing.Required, typing.NotRequired):
        return _schema(typing.get_args(annotation)[0], place, within)
    if origin is typing.Literal:
        return _choices(typing.get_args(annotation), place)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(each, place, within) for each in typing.get_args(annotation)]}
    if isinstance(annotation, typing.NewType):
        return _schema(annotation.__supertype__, place, within)
    if hasattr(annotation, "__value__"):  # the `type` statement of Python 3.12
        return _schema(annotation.__value__, place, within)
    if isinstance(annotation, type) and origin is None:
        structured = _class_schema(annotation, place, within)
        if structured is not None:
            return structured
    return _collection(origin or annotation, typing.get_args(annotation), place, within)


def _class_schema(kind: type, place: str, within: tuple[type, ...]) -> Schema | None:
    """Enums, dataclasses, typed dicts and pydantic models; None for a class of any other sort."""
    if pydantic_models.is_model(kind):
        return pydantic_models.schema(kind, place)
    if issubclass(kind, enum.Enum):
        return _choices(tuple(member.value for member in kind), place)
    if not dataclasses.is_dataclass(kind) and not typing.is_typeddict(kind):
        return None
    if kind in within:
        message = f"{place}: {kind.__name__} contains itself"
        raise Untypable(message)
    hints = _resolved(kind, f"{place}: the annotations of {kind.__name__}")
    deeper = (*within, kind)
    if dataclasses.is_dataclass(kind):
        fields = [field for field in dataclasses.fields(kind) if field.init]
        required = [field.name for field in fields if _has_no_default(field)]
        names = [field.name for field in fields]
    else:
        names = list(hints)
        required = [name for name in names if _is_required(kind, name, hints[name])]
    properties = {name: _schema(hints[name], f"{place}.{name}", deeper) for name in names}
    return _object(properties, required)


def _collection(origin: Any, inner: tuple[Any, ...], place: str, within: tuple[type, ...]) -> Schema:
    """Lists, sets, tuples and mappings; bare ones hold anything."""
    if origin in _LISTS or origin in _SETS:
        items = {"items": _schema(inner[0], place, within)} if inner else {}
        unique = {"uniqueItems": True} if origin in _SETS else {}
        return {"type": "array", **items, **unique}
    if origin is tuple and inner:
        if inner[-1] is Ellipsis:
            return {"type": "array", "items": _schema(inner[0], place, within)}
        fixed = [_schema(each, place, within) for each in inner]
        return {
            "type": "array",
            "prefixItems": fixed,
            "items": False,
            "minItems": len(fixed),
            "maxItems": len(fixed),
        }
    if origin in _MAPPINGS:
        if not inner:
            return {"type": "object"}
        if inner[0] is str:
            return {"type": "object", "additionalProperties": _schema(inner[1], place, within)}
        message = f"{place}: the keys of a JSON object are strings"
        raise Untypable(message)
    message = f"{place}: {getattr(origin, '__name__', origin)} has no JSON Schema"
    raise Untypable(message)


def _choices(values: tuple[Any, ...], place: str) -> Schema:
    """Floats and bytes can't be compared safely as choices, so they are refused."""
    if not values or not all(value is None or isinstance(value, (str, int, bool)) for value in values):
        message = f"{place}: only texts, whole numbers, booleans and None can be choices"
        raise Untypable(message)
    return {"enum": [value.value if isinstance(value, enum.Enum) else value for value in values]}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _with_default(schema: Schema, default: Any) -> Schema:
    """Show the default to the model where it is JSON; the function applies it in any case."""
    try:
        return {**schema, "default": orjson.loads(orjson.dumps(default))}
    except orjson.JSONEncodeError:
        return schema


def _check_convertible(annotation: Any, place: str) -> None:
    """A schema alone is not enough: the function must also get the value that its signature promises."""
    reason = convertible(annotation)
    if reason is not None:
        message = f"{place} can't be built from JSON ({reason})"
        raise Untypable(message)


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_required(kind: Any, name: str, hint: Any) -> bool:
    # With postponed annotations __required_keys__ does not see the wrappers; the resolved hint does.
    wrapper = typing.get_origin(hint)
    if wrapper in (typing.Required, typing.NotRequired):
        return wrapper is typing.Required
    return name in kind.__required_keys__


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
