"""Parameters that are pydantic models: their schema, closed and without references, and the models themselves.

Callgate does not need pydantic; where a user's signature has a model, it is there.
"""

from __future__ import annotations

from typing import Any

from callgate.tools.untypable import Untypable

Schema = dict[str, Any]

_REFERENCE = "#/$defs/"
_LABELS = ("title",)


def is_model(kind: Any) -> bool:
    """Whether a class is a pydantic model (of its version 2)."""
    return callable(getattr(kind, "model_json_schema", None)) and callable(getattr(kind, "model_validate", None))


def built(kind: Any, value: Any) -> Any:
    """The model of a decoded value: the hook that msgspec calls for classes that it doesn't know."""
    if is_model(kind):
        return _model(kind, value)
    message = f"JSON can't be converted to {getattr(kind, '__name__', kind)}"
    raise NotImplementedError(message)


def _model(kind: Any, value: Any) -> Any:
    """The model. Raises ValueError with places and problems: the library's own text quotes the input, cut in two."""
    try:
        return kind.model_validate(value)
    except ValueError as error:
        # Its own error class would need pydantic to be named; what a validator raises as another stays as it is.
        list_errors = getattr(error, "errors", None)
        if not callable(list_errors):
            raise
        found = list_errors(include_input=False, include_context=False, include_url=False)
        said = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in found)
    raise ValueError(f"{kind.__name__} can't be made: {said}")


def schema(model: Any, place: str) -> Schema:
    """The schema of a model, strict at every depth. Raises `Untypable`."""
    try:
        whole = model.model_json_schema()
    except Exception as error:
        # Its own error classes would need pydantic to be named; whatever it is, the signature can't be typed.
        message = f"{place}: {model.__name__} has no JSON Schema ({str(error).splitlines()[0][:120]})"
        raise Untypable(message) from error
    found = _resolved(whole, whole.get("$defs", {}), place, ())
    assert isinstance(found, dict)
    return found


def _resolved(value: Any, definitions: Schema, place: str, within: tuple[str, ...]) -> Any:
    """References replaced by what they name, objects closed, and the titles left out, which only repeat the names."""
    if isinstance(value, list):
        return [_resolved(each, definitions, place, within) for each in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix(_REFERENCE)
        if name in within or name not in definitions:
            message = f"{place}: {name} contains itself"
            raise Untypable(message)
        beside = {key: each for key, each in value.items() if key != "$ref"}
        return _resolved({**definitions[name], **beside}, definitions, place, (*within, name))
    resolved = {
        key: _properties(each, definitions, place, within)
        if key == "properties"
        else each
        if key in ("default", "enum", "const", "required")
        else _resolved(each, definitions, place, within)
        for key, each in value.items()
        if key != "$defs" and not (key in _LABELS and isinstance(each, str))
    }
    if resolved.get("type") == "object" and "properties" in resolved:
        if resolved.get("additionalProperties") not in (None, False):
            message = f"{place}: a model that takes extra keys can't be strict"
            raise Untypable(message)
        resolved["additionalProperties"] = False
    return resolved


def _properties(value: Schema, definitions: Schema, place: str, within: tuple[str, ...]) -> Schema:
    """Names of properties are the user's: none of them is a keyword."""
    return {name: _resolved(each, definitions, f"{place}.{name}", within) for name, each in value.items()}
