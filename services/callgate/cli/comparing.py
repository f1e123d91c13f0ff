"""What a question asks otherwise than the last one of its kind did, and what BIGHUB would rather see. Pure.

Values are shown masked, and compared as they are: a secret that has changed is said to have, and is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from callgate.cli.views import Question, masked_fault
from callgate.cli.wording import compact
from callgate.events.actions import ActionProposed
from callgate.tools.masking import mask

_SHOWN = 200
_ABSENT = "nothing"


def last_such(question: Question, others: Iterable[Question]) -> Question | None:
    """The latest earlier question about the same tenant's same tool and target; None where this is the first."""
    request = question.request
    earlier = [
        each
        for each in others
        if _about(each.request.action) == _about(request.action)
        and each.request.approval_id != request.approval_id
        and each.request.requested_at < request.requested_at
    ]
    return max(earlier, key=lambda each: each.request.requested_at, default=None)


def differences(before: ActionProposed, after: ActionProposed) -> list[str]:
    """One line for each argument that is another than before, by name; empty where all are the same."""
    old, new = _object(orjson.loads(bytes(before.arguments))), _object(orjson.loads(bytes(after.arguments)))
    old_shown, new_shown = _object(masked_fault(before)), _object(masked_fault(after))
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if name in old and name in new and old[name] == new[name]:
            continue
        was, is_ = (_text(name, shown) for shown in (old_shown, new_shown))
        lines.append(f"{name}: masked, and another than before" if was == is_ else f"{name}: was {was}, is {is_}")
    return lines


def better_action(question: Question) -> Any:
    """What BIGHUB would rather see, masked as the arguments are; None where it says nothing."""
    raw = question.request.decision.better_action
    return None if raw is None else mask(orjson.loads(bytes(raw)), question.request.action.sensitive)


def _about(action: ActionProposed) -> tuple[str, str, str]:
    return action.ref.tenant, action.ref.tool, action.target


def _object(arguments: Any) -> dict[str, Any]:
    """Arguments that are no object, such as those of a faulty call, are compared as one value."""
    return arguments if isinstance(arguments, dict) else {"arguments": arguments}


def _text(name: str, shown: dict[str, Any]) -> str:
    return compact(shown[name], _SHOWN) if name in shown else _ABSENT
