"""The JSON Schema of every event, and what may change in one without a new version.

The log is older than the code that reads it, and for the time of an upgrade younger too. So within a version every new
reader must understand every old record, and every old reader every new record: nothing is removed, demanded anew or
narrowed, and no default changes, since a field that holds its default is not written. What is left are new optional
fields, and new values of an enumeration; for the latter readers are upgraded before writers.
"""

from __future__ import annotations

import inspect as source
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson
from msgspec import inspect

from callgate.events.codec import REGISTRY
from callgate.events.event import Event

Schema = Mapping[str, Any]
_Documents = tuple[Schema, Schema]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: dict[type[inspect.Type], dict[str, Any]] = {
    inspect.IntType: {"type": "integer"},
    inspect.FloatType: {"type": "number"},
    inspect.BoolType: {"type": "boolean"},
    inspect.NoneType: {"type": "null"},
    inspect.RawType: {},
}
_FLOORS = ("minLength", "minItems", "minimum", "exclusiveMinimum")
_CEILINGS = ("maxLength", "maxItems", "maximum", "exclusiveMaximum")
_DEPTH = 40


def every_schema() -> dict[str, str]:
    """The text of each event's schema file by type; the same text for the same structs."""
    return {name: _text(schema(REGISTRY[name])) for name in sorted(REGISTRY)}


def schema(kind: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's value. Raises NotImplementedError for a kind of field that no event had before."""
    parts: dict[str, dict[str, Any]] = {}
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    body = _struct(info, parts)
    return {"$schema": _DIALECT, "$id": kind.TYPE, **body, **({"$defs": dict(sorted(parts.items()))} if parts else {})}


def breaks(old: Schema, new: Schema) -> tuple[str, ...]:
    """What in `new` a reader of `old`, or of its records, would not understand: one sentence each, with the place."""
    return tuple(_narrowed(old, new, (old, new), "$", 0))


def _struct(info: inspect.StructType, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for each in info.fields:
        described = _type(each.type, parts)
        if not each.required and not (isinstance(each.type, inspect.RawType) and each.default is None):
            described = described | {"default": _plain(each.default)}
        properties[each.encode_name] = described
    return {
        "title": info.cls.__name__,
        "description": source.cleandoc(info.cls.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": [each.encode_name for each in info.fields if each.required],
    }


def _type(info: inspect.Type, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    match info:
        case inspect.StrType():
            limits = {"minLength": info.min_length, "maxLength": info.max_length, "pattern": info.pattern}
            return {"type": "string"} | {name: limit for name, limit in limits.items() if limit is not None}
        case inspect.LiteralType(values=values):
            return {"enum": sorted(values, key=str)}
        case inspect.UnionType(types=types):
            return {"anyOf": [_type(each, parts) for each in types]}
        case inspect.VarTupleType(item_type=item):
            return {"type": "array", "items": _type(item, parts)}
        case inspect.StructType(cls=cls):
            if cls.__name__ not in parts:
                parts[cls.__name__] = {}
                parts[cls.__name__] = _struct(info, parts)
            return {"$ref": f"#/$defs/{cls.__name__}"}
        case _ if type(info) in _PLAIN:
            return dict(_PLAIN[type(info)])
        case _:
            message = f"no JSON Schema for {info}: say here what it means"
            raise NotImplementedError(message)


def _plain(default: object) -> Any:
    return orjson.loads(bytes(default)) if isinstance(default, msgspec.Raw) else msgspec.to_builtins(default)


def _text(document: Schema) -> str:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"


def _narrowed(old: Schema, new: Schema, documents: _Documents, place: str, depth: int) -> Iterator[str]:
    old, new = _resolved(old, documents[0]), _resolved(new, documents[1])
    if depth > _DEPTH or not _typed(new):
        return
    if not _typed(old):
        yield f"{place}: took any JSON before, and is restricted now"
        return
    candidates = _alternatives(new)
    for alternative in _alternatives(old):
        complaints = [list(_refused(alternative, each, documents, place, depth)) for each in candidates]
        if all(complaints):
            yield from min(complaints, key=len)


def _refused(old: Schema, new: Schema, documents: _Documents, place: str, depth: int) -> Iterator[str]:
    """Why `new`, one alternative, does not take all that `old`, one alternative, took."""
    old, new = _resolved(old, documents[0]), _resolved(new, documents[1])
    if "enum" in old:
        missing = [value for value in old["enum"] if not _takes(new, value)]
        if missing:
            yield f"{place}: no longer takes {', '.join(map(repr, missing))}"
        return
    if "enum" in new or new.get("type") not in {old.get("type"), "number" if old.get("type") == "integer" else None}:
        yield f"{place}: was {old.get('type')}, and is {'an enumeration' if 'enum' in new else new.get('type')} now"
        return
    yield from _tightened(old, new, place)
    if old.get("type") == "array":
        yield from _narrowed(old.get("items", {}), new.get("items", {}), documents, f"{place}[]", depth + 1)
    if old.get("type") == "object":
        yield from _object(old, new, documents, place, depth)


def _object(old: Schema, new: Schema, documents: _Documents, place: str, depth: int) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    required_before, required_after = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(set(before) - set(after)):
        yield f"{place}.{name}: was removed or renamed"
    for name in sorted(required_after - required_before):
        yield f"{place}.{name}: is required now, and old records lack it"
    for name in sorted((required_before - required_after) & set(after)):
        yield f"{place}.{name}: is optional now, and old readers need it"
    if new.get("additionalProperties", True) is False and old.get("additionalProperties", True) is not False:
        yield f"{place}: unknown fields are refused now"
    for name in before:
        if name not in after:
            continue
        if before[name].get("default") != after[name].get("default"):
            yield f"{place}.{name}: its default changed, so what old records left out means something else"
        yield from _narrowed(before[name], after[name], documents, f"{place}.{name}", depth + 1)


def _tightened(old: Schema, new: Schema, place: str) -> Iterator[str]:
    for name in _FLOORS:
        if name in new and (name not in old or new[name] > old[name]):
            yield f"{place}: {name} rose to {new[name]}"
    for name in _CEILINGS:
        if name in new and (name not in old or new[name] < old[name]):
            yield f"{place}: {name} fell to {new[name]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{place}: its pattern is another"


def _takes(node: Schema, value: object) -> bool:
    if "enum" in node:
        return value in node["enum"]
    return (
        node.get("type") == "string"
        and isinstance(value, str)
        and not set(node) & {"minLength", "maxLength", "pattern"}
    )


def _typed(node: Schema) -> bool:
    return bool({"type", "enum", "anyOf"} & set(node))


def _alternatives(node: Schema) -> list[Schema]:
    return list(node["anyOf"]) if "anyOf" in node else [node]


def _resolved(node: Schema, document: Schema) -> Schema:
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return node
    found: Schema = document.get("$defs", {}).get(reference.rsplit("/", 1)[-1], {})
    return found
