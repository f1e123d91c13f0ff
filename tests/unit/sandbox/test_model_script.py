"""The script of the sandbox's model: which round is said, and what is said of a file that can't be used."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from callgate.failures import BadInput
from callgate.sandbox.model.script import Calling, load_script, parse_script
from callgate.sandbox.model.shapes import response_of

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "models"


def test_the_first_scenario_that_fits_gives_its_rounds_in_turn() -> None:
    """Message and model choose the scenario, the number of past answers the round; beyond the last it is over."""
    script = parse_script(
        """
        [[scenario]]
        text = "*refund*"
        model = "big-*"
        round = [{ calls = [{ name = "refund", arguments = { n = 1 } }, { name = "raw", arguments = "[1]" }] },
                 { text = "Refunded." }]
        """
    )
    assert script.round("big-1", "a refund", 0).calls == (Calling("refund", '{"n":1}'), Calling("raw", "[1]"))
    assert script.round("big-1", "a refund", 1).text == "Refunded."
    assert script.round("big-1", "a refund", 2).text == "Done."
    assert script.round("small", "a refund", 0).text == "You said: a refund"


def test_without_a_script_the_user_says_what_is_called() -> None:
    """Lines of calls are made as they stand, round by round; anything else is repeated."""
    said = 'Please:\ncall pay {"n": 1}\ncall look\nthen\ncall pay {"n": 2}'
    script = parse_script("")
    assert script.round("m", said, 0).calls == (Calling("pay", '{"n": 1}'), Calling("look", "{}"))
    assert script.round("m", said, 1).calls == (Calling("pay", '{"n": 2}'),)
    assert script.round("m", said, 2).text == "Done."
    assert script.round("m", "hello", 0).text == "You said: hello"


def test_recorded_answers_are_played_as_they_were(tmp_path: Path) -> None:
    """Each line's own items are the answer of its round."""
    items = [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]
    (tmp_path / "run.jsonl").write_bytes(orjson.dumps({"output": items, "status": "completed"}))
    (tmp_path / "script.toml").write_text('[[scenario]]\nrecorded = "run.jsonl"')
    made = load_script(tmp_path / "script.toml").round("m", "anything", 0)
    assert response_of({"model": "m", "input": "x"}, made, "seed", 0)["output"] == items


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[[scenario]]", "scenario 1"),
        ("scenario = 3", "scenario"),
        ("[[scenario]]\nround = 3", "scenario 1: round"),
        ("[[scenario]]\nround = [{ txt = 'a' }]", "scenario 1, round 1: txt"),
        ("[[scenario]]\nround = [{ status = 'done' }]", "scenario 1, round 1: status"),
        ("[[scenario]]\nround = [{ fault = 'rain' }]", "scenario 1, round 1: fault"),
        ("[[scenario]]\nround = [{ calls = [{ arguments = {} }] }]", "scenario 1, round 1, call 1: name"),
        ("[[scenario]]\nround = [{ calls = 'refund' }]", "scenario 1, round 1: calls"),
        ("[[scenario]]\nrecorded = 'nowhere.jsonl'", "scenario 1: recorded"),
        ("[[scenario]]\nrecorded = 'a'\nround = [{ text = 'b' }]", "scenario 1"),
        ("store = 'sometimes'", "store"),
        ("[[scenario]]\nround = [{ items = 'a' }]", "scenario 1, round 1: items"),
        ("[[scenario]]\nround = [{ items = [{ type = 'a' }], text = 'b' }]", "scenario 1, round 1: items"),
        ("[[scenario", "script"),
    ],
)
def test_a_script_that_can_not_be_used_is_named(text: str, field: str, tmp_path: Path) -> None:
    """Every mistake names its place."""
    with pytest.raises(BadInput) as caught:
        parse_script(text, folder=tmp_path)
    assert caught.value.field.removeprefix("script: ") == field


@pytest.mark.parametrize("line", ["{", "[]", '{"output": 1}', '{"output": [], "status": "odd"}'])
def test_a_recording_that_can_not_be_used_is_named(line: str, tmp_path: Path) -> None:
    """A line that is no response names its file and number."""
    (tmp_path / "run.jsonl").write_text(line)
    with pytest.raises(BadInput, match=r"run.jsonl: line 1"):
        parse_script("[[scenario]]\nrecorded = 'run.jsonl'", folder=tmp_path)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_can_be_used(path: Path) -> None:
    """What is offered for copying works."""
    assert load_script(path).scenarios
