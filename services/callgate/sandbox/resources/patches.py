"""JSON Patch (RFC 6902) on a constraint. Pure: the document is never changed in place."""

from __future__ import annotations

import copy
from typing import Any

from callgate.sandbox.answers import Refused, invalid

_NEEDS = {"add": "value", "replace": "value", "test": "value", "remove": None, "move": "from", "copy": "from"}


def patched(document: dict[str, object], operations: list[object]) -> dict[str, object]:
    """The document after all operations. Raises `Refused` with 422 for the first that can't be done."""
    made: Any = copy.deepcopy(document)
    for index, operation in enumerate(operations):
        where = f"patch.{index}"
        if not isinstance(operation, dict) or operation.get("op") not in _NEEDS:
            raise invalid((where, f"must be an operation of JSON Patch: {', '.join(_NEEDS)}"))
        needed = _NEEDS[operation["op"]]
        if not isinstance(operation.get("path"), str) or (needed is not None and needed not in operation):
            raise invalid((where, f"needs a path{f' and {needed}' if needed else ''}"))
        _apply(made, operation, where)
    return dict(made)


def _apply(document: Any, operation: dict[str, Any], where: str) -> None:
    kind, path = operation["op"], operation["path"]
    if kind == "test":
        if _read(document, path, where) != operation["value"]:
            raise Refused(422, "patch_test_failed", f"{where}: {path} is another value")
        return
    if kind in {"add", "replace"}:
        value = copy.deepcopy(operation["value"])
    elif kind == "remove":
        value = None
    else:
        value = copy.deepcopy(_read(document, str(operation["from"]), where))
    if kind == "move":
        _write(document, str(operation["from"]), where, "remove", None)
    _write(document, path, where, "add" if kind in {"move", "copy"} else kind, value)


def _parts(path: str, where: str) -> list[str]:
    if not path.startswith("/"):
        raise invalid((where, "its path must begin with a slash, and can't be the whole constraint"))
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _read(document: Any, path: str, where: str) -> Any:
    for part in _parts(path, where):
        document = _step(document, part, path, where)
    return document


def _step(holder: Any, part: str, path: str, where: str) -> Any:
    if isinstance(holder, dict) and part in holder:
        return holder[part]
    if isinstance(holder, list) and part.isascii() and part.isdigit() and int(part) < len(holder):
        return holder[int(part)]
    raise invalid((where, f"there is nothing at {path}"))


def _write(document: Any, path: str, where: str, kind: str, value: Any) -> None:
    *before, last = _parts(path, where)
    holder = document
    for part in before:
        holder = _step(holder, part, path, where)
    if kind != "add":
        _step(holder, last, path, where)
    if isinstance(holder, dict):
        if kind == "remove":
            del holder[last]
        else:
            holder[last] = value
        return
    if not isinstance(holder, list):
        raise invalid((where, f"there is nothing at {path}"))
    if last != "-" and not (last.isascii() and last.isdigit() and int(last) <= len(holder)):
        raise invalid((where, f"there is no place {path}"))
    at = len(holder) if last == "-" else int(last)
    if kind == "add":
        holder.insert(at, value)
    elif kind == "remove":
        del holder[at]
    else:
        holder[at] = value
