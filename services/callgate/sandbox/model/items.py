"""Items as the API lists them: each with an id and whole content, a page at a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from callgate.sandbox.model.refusals import Invalid

Item = Mapping[str, Any]
Shape = dict[str, Any]

_MOST, _DEFAULT = 100, 20
_SPOKEN = {"assistant": "output_text"}


def whole(item: Item, name: str) -> Shape:
    """An item as it is listed: with an id, `name` unless it has one, and a message's text as parts."""
    made = {**item, "type": item.get("type", "message"), "id": item.get("id") or name}
    if made["type"] == "message":
        made.setdefault("status", "completed")
        if isinstance(made.get("content"), str):
            kind = _SPOKEN.get(str(made.get("role")), "input_text")
            extra: Shape = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
            made["content"] = [{"type": kind, "text": made["content"], **extra}]
    return made


def page(items: Sequence[Shape], query: Mapping[str, str]) -> Shape:
    """A page of a list: the latest first unless `order=asc`, after the item that `after` names."""
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise Invalid("Invalid value for 'order': expected 'asc' or 'desc'.", param="order", code="invalid_value")
    limit = query.get("limit", str(_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= _MOST):
        raise Invalid(f"Invalid value for 'limit': expected 1 to {_MOST}.", param="limit", code="invalid_value")
    found = list(items) if order == "asc" else list(items)[::-1]
    after = query.get("after")
    if after is not None:
        places = [number for number, item in enumerate(found) if item["id"] == after]
        if not places:
            raise Invalid(f"No item with id '{after}' in this list.", param="after", code="invalid_value")
        found = found[places[0] + 1 :]
    taken = found[: int(limit)]
    ends = {"first_id": taken[0]["id"] if taken else "", "last_id": taken[-1]["id"] if taken else ""}
    return {"object": "list", "data": taken, **ends, "has_more": len(taken) < len(found)}
