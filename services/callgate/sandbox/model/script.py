"""What the model says: rounds of a script that the user wrote or recorded; else what the user's own message asks for.

    [[scenario]]
    text = "*refund*"                      # the last message of the user's
    model = "*"
    [[scenario.round]]
    reasoning = "The payment must be found first."
    calls = [{ name = "refund", arguments = { payment = "p1", amount = 10 } }]
    [[scenario.round]]
    text = "Done."

`items = [{ type = "custom_tool_call", … }]` in a round sends items as they are. `recorded = "file.jsonl"` in place of
rounds plays recorded responses, one a line. `store = "lenient"` at the top stores also what says `store: false`, for
clients that chain from it nevertheless.

Which round it is follows from the history in the request: nothing is remembered between requests, so an agent may be
killed and go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast, get_args

import orjson

from callgate.failures import BadInput
from callgate.sandbox.model.breaks import Break
from callgate.sandbox.reading import known, number, read_text, read_toml, table, text

StatusWord = Literal["completed", "failed", "incomplete", "queued", "in_progress", "cancelled"]
_ROUND = ("text", "reasoning", "refusal", "calls", "items", "status", "reason", "error", "fault", "delay_seconds")
_SAID = ("text", "reasoning", "refusal", "calls")
_CALL = ("name", "arguments", "call_id")


@dataclass(frozen=True, slots=True)
class Calling:
    """One function call of the model's."""

    name: str
    arguments: str
    call_id: str | None = None
    """Made from the request where it is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One answer of the model's."""

    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    calls: tuple[Calling, ...] = ()
    status: StatusWord = "completed"
    reason: str = "max_output_tokens"
    """Of an incomplete answer."""
    error: Mapping[str, str] | None = None
    fault: Break | None = None
    delay_seconds: float = 0.0
    items: tuple[Mapping[str, Any], ...] | None = None
    """Items as they are, of a recorded answer or written by hand, in place of texts and calls."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rounds for one sort of request."""

    text: str
    model: str
    rounds: tuple[Round, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """Scenarios in the order in which they are tried."""

    scenarios: tuple[Scenario, ...] = ()
    lenient: bool = False
    """Whether responses are stored that say `store: false`."""

    def round(self, model: str, said: str, past: int) -> Round:
        """What is answered to a user who said `said`, after `past` answers since. The last round is not repeated."""
        for scenario in self.scenarios:
            if fnmatchcase(said, scenario.text) and fnmatchcase(model, scenario.model):
                return scenario.rounds[past] if past < len(scenario.rounds) else Round(text="Done.")
        return _asked_for(said, past)


def load_script(path: Path) -> Script:
    """The scenarios of a file. Raises `BadInput` that names file, scenario, field and the way out."""
    return parse_script(read_text(path, "--model-script"), str(path), path.parent)


def parse_script(source_text: str, source: str = "script", folder: Path | None = None) -> Script:
    """See `load_script`; recorded answers are looked for in `folder`."""
    document = read_toml(source_text, source)
    known(document, ("scenario", "store"), source)
    store = _one_of(document, "store", ("strict", "lenient"), source)
    found = document.get("scenario", [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadInput(f"{source}: scenario", "is not a list of tables", "Begin every scenario with [[scenario]]")
    scenarios = tuple(_scenario(each, f"{source}: scenario {n}", folder) for n, each in enumerate(found, 1))
    return Script(scenarios, lenient=store == "lenient")


def _asked_for(said: str, past: int) -> Round:
    """Lines `call NAME {…}` are calls, a line `then` begins the next round; anything else is repeated."""
    rounds = [_calls(part.splitlines()) for part in said.split("\nthen\n")]
    if past < len(rounds) and rounds[past]:
        return Round(calls=rounds[past])
    return Round(text=f"You said: {said}" if not any(rounds) else "Done.")


def _calls(lines: Sequence[str]) -> tuple[Calling, ...]:
    found = [line.strip().split(" ", 2) for line in lines if line.strip().startswith("call ")]
    return tuple(Calling(words[1], words[2] if words[2:] else "{}") for words in found if words[1:])


def _scenario(found: dict[str, object], where: str, folder: Path | None) -> Scenario:
    known(found, ("text", "model", "round", "recorded"), where)
    recorded = text(found, "recorded", where)
    listed = found.get("round", [])
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise BadInput(f"{where}: round", "is not a list of tables", "Begin every round with [[scenario.round]]")
    if (recorded is None) == (not listed):
        raise BadInput(where, "needs rounds, or `recorded`", "Give one of the two")
    if recorded is not None:
        rounds = _recorded((folder or Path()) / recorded, where)
    else:
        rounds = tuple(_round(each, f"{where}, round {n}") for n, each in enumerate(listed, 1))
    return Scenario(text(found, "text", where) or "*", text(found, "model", where) or "*", rounds)


def _recorded(path: Path, where: str) -> tuple[Round, ...]:
    rounds = []
    for n, line in enumerate(read_text(path, f"{where}: recorded").splitlines(), 1):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise BadInput(f"{path}: line {n}", "is no JSON", "Write one response a line") from error
        if not isinstance(value, dict) or not isinstance(value.get("output"), list):
            raise BadInput(f"{path}: line {n}", "is no response: it has no list `output`", "Write one response a line")
        status = value.get("status", "completed")
        if status not in get_args(StatusWord):
            raise BadInput(f"{path}: line {n}: status", f"{status!r} is unknown", "Record whole responses")
        rounds.append(Round(items=tuple(value["output"]), status=status, error=value.get("error")))
    return tuple(rounds)


def _round(found: dict[str, object], where: str) -> Round:
    known(found, _ROUND, where)
    items = found.get("items")
    if items is not None and (not isinstance(items, list) or not all(isinstance(each, dict) for each in items)):
        raise BadInput(f"{where}: items", "is not a list of tables", 'Write items = [{ type = "custom_tool_call" }]')
    if items is not None and any(name in found for name in _SAID):
        raise BadInput(f"{where}: items", "stands in place of what else is said", f"Leave out {', '.join(_SAID)}")
    calls = found.get("calls", [])
    if not isinstance(calls, list) or not all(isinstance(each, dict) for each in calls):
        raise BadInput(f"{where}: calls", "is not a list of tables", 'Write calls = [{ name = "refund" }]')
    error = {name: str(value) for name, value in table(found, "error", where).items()} or None
    status = _one_of(found, "status", get_args(StatusWord), where) or ("failed" if error else "completed")
    if status == "failed" and error is None:
        error = {"code": "server_error", "message": "The script asked for this."}
    return Round(
        text=text(found, "text", where),
        reasoning=text(found, "reasoning", where),
        refusal=text(found, "refusal", where),
        calls=tuple(_calling(each, f"{where}, call {n}") for n, each in enumerate(calls, 1)),
        status=cast("StatusWord", status),
        reason=text(found, "reason", where) or "max_output_tokens",
        error=error,
        fault=cast("Break | None", _one_of(found, "fault", get_args(Break), where)),
        delay_seconds=number(found, "delay_seconds", where, least=0, most=3600) or 0.0,
        items=tuple(items) if items is not None else None,
    )


def _calling(found: dict[str, object], where: str) -> Calling:
    known(found, _CALL, where)
    name = text(found, "name", where)
    if name is None:
        raise BadInput(f"{where}: name", "is missing", "Name the tool that is called")
    arguments = found.get("arguments", {})
    # A text is sent as it is: models send what is no JSON, too.
    raw = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return Calling(name, raw, text(found, "call_id", where))


def _one_of(found: dict[str, object], name: str, allowed: tuple[str, ...], where: str) -> str | None:
    value = text(found, name, where)
    if value is not None and value not in allowed:
        raise BadInput(f"{where}: {name}", f"{value!r} is unknown", f"Use one of {', '.join(allowed)}")
    return value
