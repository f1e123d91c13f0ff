"""A call's arguments: read strictly, then held against the tool's schema.

What is wrong is said in one short sentence for the model. It names arguments and what they must be, and never repeats
their values: a value may be a secret, and what the model is told is logged by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from callgate.events.actions import Fault
from callgate.tools import strict_json

MAX_BYTES = 262_144
"""The largest arguments of one call. Every later event of the action carries them, and must fit into one record."""

_FAULTS_TOLD = 3
_SHOWN = 60
_CHOICES_SHOWN = 200

Validator = jsonschema_rs.Validator


def parse(raw: str | bytes) -> dict[str, Any] | Fault:
    """The arguments as a JSON object, or the fault that refuses the call."""
    if len(raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return Fault(code="too_large", message=f"The arguments are larger than {MAX_BYTES} bytes.")
    try:
        value = strict_json.loads(raw)
    except strict_json.NotStrict as error:
        return Fault(code="malformed_arguments", message=f"The arguments are not valid JSON: {error}.")
    if not isinstance(value, dict):
        return Fault(code="malformed_arguments", message="The arguments must be one JSON object.")
    return value


def compile_schema(parameters: Mapping[str, Any]) -> Validator:
    """A validator for arguments. Raises ValueError with one line that says what is wrong with the schema.

    References are resolved inside the schema only: validating must not reach out to another host or file.
    """
    try:
        return jsonschema_rs.validator_for(dict(parameters), offline=True)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(str(error).strip().splitlines()[0][:_CHOICES_SHOWN]) from error


def validate(validator: Validator, arguments: Mapping[str, Any]) -> Fault | None:
    """What of `arguments` does not fit the schema, or None where all fits."""
    if validator.is_valid(arguments):
        return None
    faults = [_sentence(error) for error in islice(validator.iter_errors(arguments), _FAULTS_TOLD)]
    return Fault(code="invalid_arguments", message=f"The arguments do not fit the tool: {'; '.join(faults)}.")


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    """One misfit in words. The commonest keywords have sentences; the others are named."""
    place = _place(error)
    facts = error.kind.as_dict()
    match error.kind.name:
        case "required":
            return f"{_inside(place)}`{facts['property']}` is missing"
        case "additionalProperties":
            names = ", ".join(f"`{str(name)[:_SHOWN]}`" for name in facts["unexpected"][:_FAULTS_TOLD])
            return f"{_inside(place)}{names} is not known"
        case "type":
            return f"{place} must be of type {' or '.join(facts['types'])}"
        case "enum":
            return f"{place} must be one of {orjson.dumps(facts['options']).decode()[:_CHOICES_SHOWN]}"
        case keyword:
            limit = f" {facts['limit']}" if "limit" in facts else ""
            return f"{place} does not satisfy {keyword}{limit}"


def _place(error: jsonschema_rs.ValidationError) -> str:
    """Where it is; keys of free-form objects come from the model, and are cut."""
    path = ".".join(str(part)[:_SHOWN] for part in error.instance_path)
    return f"`{path}`" if path else "the object"


def _inside(place: str) -> str:
    return "" if place == "the object" else f"in {place} "
