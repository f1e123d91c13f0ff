"""From JSON arguments to the types of a function's signature.

The schema of an enum, a dataclass or a tuple describes JSON; the function expects the Python value. Arguments that have
passed the schema are converted just before the call, so that they mean what the signature says.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from callgate.tools.pydantic_models import built

_PLAIN: frozenset[Any] = frozenset({str, bool, Any, object})


def bound(function: Callable[..., Any], types: Mapping[str, Any]) -> Callable[..., Any]:
    """`function`, taking JSON arguments by name; itself where nothing needs converting. Async stays async."""
    converted = {name: kind for name, kind in types.items() if kind not in _PLAIN}
    if not converted:
        return function

    def convert(arguments: dict[str, Any]) -> dict[str, Any]:
        return {
            name: _convert(value, converted[name]) if name in converted else value for name, value in arguments.items()
        }

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def adapted_async(**arguments: Any) -> Any:
            return await function(**convert(arguments))

        return adapted_async

    @functools.wraps(function)
    def adapted(**arguments: Any) -> Any:
        return function(**convert(arguments))

    return adapted


def convertible(kind: Any) -> str | None:
    """Why JSON can't be converted to `kind`, or None if it can."""
    try:
        msgspec.convert(None, kind, dec_hook=lambda *_: None)
    except msgspec.ValidationError:
        return None
    except (TypeError, NameError, AttributeError) as error:
        return str(error).splitlines()[0]
    return None


def _convert(value: Any, kind: Any) -> Any:
    # JSON Schema counts 1.0 as an integer, Python does not.
    return int(value) if kind is int and isinstance(value, float) else msgspec.convert(value, kind, dec_hook=built)
