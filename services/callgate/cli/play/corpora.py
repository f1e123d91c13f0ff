"""Recorded runs as turns: what was called, with which arguments, and what came back at the time.

Two formats: `*.runs.jsonl` holds whole Chat Completions conversations, `*.turns.jsonl` holds normalised turns
(`{corpus, run_id, turn, calls: [{call_id, name, arguments}]}`). A turn is played as the assistant message that made it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from callgate.events import ids
from callgate.failures import BadInput

NOTHING_RECORDED = b'{"recorded":null}'
"""What a played tool returns where the recording holds no output."""

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call of a recorded turn."""

    call_id: str | None
    name: str
    arguments: str
    """As the model sent it; perhaps not JSON."""
    output: bytes
    """JSON of what the tool returned; a recorded string stays a string."""


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One recorded answer of a model that calls tools."""

    corpus: str
    run_id: str
    turn: str
    calls: tuple[RecordedCall, ...]
    labels: Mapping[str, Any]
    """Labels that the corpus carries (such as `malicious`), passed to BIGHUB as context."""

    def session(self, play: str) -> str:
        """The session's id in a play: readable, and injective over play, corpus and run."""
        readable = f"{self.corpus}/{self.run_id}"[:_SHOWN]
        return f"{readable}#{ids.fingerprint(play, self.corpus, self.run_id)}"

    def message(self) -> bytes:
        """The assistant message that made the calls."""
        return orjson.dumps(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": call.call_id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    }
                    for call in self.calls
                ],
            }
        )


def find(name: str) -> Path:
    """The file that a person means: a path, or a name in the corpora folder. Raises BadInput."""
    folder = Path(os.environ.get("CALLGATE_CORPORA", "../shared/corpora"))
    for path in (Path(name), folder / name):
        if path.is_file():
            return path
    raise BadInput(
        "FILE",
        f"{name!r} is neither here nor in {folder}",
        "Name a *.runs.jsonl or *.turns.jsonl file, or set CALLGATE_CORPORA to the folder that has it",
    )


def read(path: Path) -> Iterator[RecordedTurn]:
    """The turns of a file, in its order. Raises BadInput that names the line."""
    if path.name.endswith(".runs.jsonl"):
        reader = _run_turns
    elif path.name.endswith(".turns.jsonl"):
        reader = _normalised_turn
    else:
        raise BadInput("FILE", f"{path.name!r} is of no known kind", "Its name must end in .runs.jsonl or .turns.jsonl")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield from reader(orjson.loads(line), path.name.removesuffix(".jsonl"))
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
                raise BadInput(
                    f"{path.name} line {number}",
                    f"is not a recorded {'run' if reader is _run_turns else 'turn'} ({type(error).__name__}: {error})",
                    "The formats are described in docs/play.md",
                ) from error


def _normalised_turn(line: Mapping[str, Any], corpus: str) -> Iterator[RecordedTurn]:
    labels = {key: value for key, value in line.items() if key not in {"corpus", "run_id", "turn", "calls"}}
    calls = tuple(
        RecordedCall(
            call_id=call["call_id"],
            name=_string(call["name"]),
            arguments=_string(call["arguments"]),
            output=orjson.dumps(call["output"]) if "output" in call else NOTHING_RECORDED,
        )
        for call in line["calls"]
    )
    name = f"{corpus}:{line['corpus']}" if "corpus" in line else corpus
    yield RecordedTurn(name, str(line["run_id"]), str(line["turn"]), calls, labels)


def _run_turns(line: Mapping[str, Any], corpus: str) -> Iterator[RecordedTurn]:
    messages = line["messages"]
    for index, message in enumerate(messages):
        calls = message.get("tool_calls") or []
        if message["role"] != "assistant" or not calls:
            continue
        outputs = _outputs_after(messages, index, len(calls))
        recorded = tuple(
            RecordedCall(
                call_id=call.get("id"),
                name=_string(call["function"]["name"]),
                arguments=_string(call["function"]["arguments"]),
                output=output,
            )
            for call, output in zip(calls, outputs, strict=True)
        )
        yield RecordedTurn(corpus, str(line["run_id"]), str(index), recorded, {})


def _outputs_after(messages: list[Mapping[str, Any]], index: int, count: int) -> list[bytes]:
    """The tool messages that answer, by place: call ids recur within a run, so they identify nothing."""
    outputs: list[bytes] = []
    for message in messages[index + 1 : index + 1 + count]:
        if message.get("role") != "tool":
            break
        outputs.append(orjson.dumps(message.get("content")))
    return outputs + [NOTHING_RECORDED] * (count - len(outputs))


def _string(value: object) -> str:
    if not isinstance(value, str):
        message = f"a string was expected, not {type(value).__name__}"
        raise TypeError(message)
    return value
