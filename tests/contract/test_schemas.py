"""The published schemas: they agree with the code and the examples, and no change breaks a reader unseen."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.event_values import events, kinds

from callgate.cli.schemas import schemas
from callgate.events.codec import REGISTRY, Undecodable, decode, encode
from callgate.events.event import Event
from callgate.events.schemas import breaks, every_schema, schema
from callgate.failures import BadInput

_ROOT = Path(__file__).parents[2] / "schemas"
_EXAMPLES = sorted((_ROOT / "examples").glob("*/*.json"))
_NAMES = sorted(REGISTRY)
_VALIDATORS = {name: jsonschema_rs.validator_for(orjson.loads(text)) for name, text in every_schema().items()}


def _decodes(name: str, value: bytes) -> bool:
    try:
        decode(value, [("ce_type", name.encode())])
    except Undecodable:
        return False
    return True


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_is_what_its_name_says(path: Path) -> None:
    """Schema and codec agree on every example: valid ones are read, invalid ones are refused by both."""
    value = path.read_bytes()
    valid = not path.stem.startswith("invalid-")
    assert _VALIDATORS[path.parent.name].is_valid(orjson.loads(value)) is valid
    assert _decodes(path.parent.name, value) is valid


@pytest.mark.parametrize("name", _NAMES)
def test_every_event_has_examples(name: str) -> None:
    """A minimal, a full and at least one invalid example stand beside each schema."""
    stems = {path.stem for path in _EXAMPLES if path.parent.name == name}
    assert {"minimal", "full"} <= stems
    assert any(stem.startswith("invalid-") for stem in stems)


@pytest.mark.parametrize("name", _NAMES)
def test_minimal_and_full_are_what_they_say(name: str) -> None:
    """The minimal example has the required fields only, the full one has every field, at every depth."""
    document = orjson.loads(every_schema()[name])
    folder = _ROOT / "examples" / name
    _compare(document, document, orjson.loads((folder / "full.json").read_bytes()), "properties")
    _compare(document, document, orjson.loads((folder / "minimal.json").read_bytes()), "required")


def _compare(document: dict[str, Any], node: dict[str, Any], value: object, field: str) -> None:
    """`invalid_context`-like choices aside, an object in an example has exactly the fields that `field` lists."""
    alternatives = [_resolve(document, each) for each in node.get("anyOf", [node])]
    objects = [each for each in alternatives if "properties" in each]
    if not objects or not isinstance(value, dict):
        return
    (described,) = objects
    exempt = {"action_id"} if described["title"] == "OutcomeObserved" else set()
    assert set(value) - exempt == set(described[field]) - exempt, described["title"]
    for name, child in value.items():
        _compare(document, described["properties"][name], child, field)


def _resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return node if reference is None else dict(document["$defs"][reference.rsplit("/", 1)[-1]])


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(kinds, st.data())
def test_every_event_fits_its_schema(kind: type[Event], data: st.DataObject) -> None:
    """Whatever the code writes, another language's reader can validate."""
    value, _ = encode(data.draw(events(kind)), source="s", time=0.0)
    _VALIDATORS[kind.TYPE].validate(orjson.loads(value))


@pytest.mark.parametrize("name", _NAMES)
def test_nothing_breaks_itself(name: str) -> None:
    """A schema is compatible with itself: the check cries no wolf."""
    document = orjson.loads(every_schema()[name])
    assert breaks(document, document) == ()


def _changed(change: Callable[[dict[str, Any]], object]) -> tuple[str, ...]:
    old = orjson.loads(every_schema()["callgate.approval.requested.v1"])
    new = copy.deepcopy(old)
    change(new)
    return breaks(old, new)


_BREAKING: dict[str, Callable[[dict[str, Any]], object]] = {
    "removed": lambda new: (new["properties"].pop("deadline"), new["required"].remove("deadline")),
    "optional removed": lambda new: new["properties"].pop("eligible"),
    "renamed": lambda new: new["properties"].update(due=new["properties"].pop("eligible")),
    "newly required": lambda new: new["required"].append("eligible"),
    "new and required": lambda new: (new["properties"].update(x={}), new["required"].append("x")),
    "no longer required": lambda new: new["required"].remove("deadline"),
    "narrowed number": lambda new: new["properties"]["deadline"].update(type="integer"),
    "another type": lambda new: new["properties"]["quorum"].update(type="string"),
    "enumeration shrunk": lambda new: new["properties"]["kind"]["enum"].remove("settle"),
    "enumeration in items shrunk": lambda new: new["properties"]["answers"]["items"]["enum"].remove("edit"),
    "alternative removed": lambda new: new["properties"]["doubt"]["anyOf"].pop(),
    "another pattern": lambda new: new["properties"]["approval_id"].update(pattern="^x$"),
    "shorter": lambda new: new["$defs"]["ActionRef"]["properties"]["tenant"].update(maxLength=10),
    "longer": lambda new: new["$defs"]["ActionRef"]["properties"]["tenant"].update(minLength=2),
    "raw restricted": lambda new: new["$defs"]["ActionProposed"]["properties"]["arguments"].update(type="object"),
    "another default": lambda new: new["properties"]["quorum"].update(default=2),
    "required far inside": lambda new: new["$defs"]["Decision"]["required"].append("request_id"),
    "unknown fields refused": lambda new: new.update(additionalProperties=False),
    "text to enumeration": lambda new: new["properties"].update(policy_digest={"enum": ["a"], "default": ""}),
}


@pytest.mark.parametrize("name", sorted(_BREAKING))
def test_a_breaking_change_is_found(name: str) -> None:
    """Each way of breaking an old record's reader, or an old reader, is named with its place."""
    found = _changed(_BREAKING[name])
    assert found
    assert all(each.startswith("$") for each in found)


_HARMLESS: dict[str, Callable[[dict[str, Any]], object]] = {
    "new optional field": lambda new: new["properties"].update(urgency={"type": "string", "default": "normal"}),
    "enumeration grown": lambda new: new["properties"]["kind"]["enum"].append("audit"),
    "wider number": lambda new: new["properties"]["quorum"].update(type="number"),
    "longer names": lambda new: new["$defs"]["ActionRef"]["properties"]["tenant"].update(maxLength=999),
    "alternative added": lambda new: new["properties"]["doubt"]["anyOf"].append({"type": "string"}),
    "pattern lifted": lambda new: new["properties"]["approval_id"].pop("pattern"),
    "enumeration to text": lambda new: new["properties"].update(kind={"type": "string", "default": "action"}),
    "another description": lambda new: new.update(description="better"),
}


@pytest.mark.parametrize("name", sorted(_HARMLESS))
def test_a_harmless_change_is_let_through(name: str) -> None:
    """What every reader of the version understands is no violation."""
    assert _changed(_HARMLESS[name]) == ()


def test_a_field_of_a_new_kind_must_be_described() -> None:
    """A kind of field that the generator does not know stops it, rather than becoming `anything`."""

    class Odd(Event, frozen=True, kw_only=True):
        """Has a field of a kind that no event has."""

        TYPE = "callgate.odd.v1"
        raw: bytes

    with pytest.raises(NotImplementedError, match="no JSON Schema"):
        schema(Odd)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(schemas, arguments)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A copy of the published schemas that a test may spoil."""
    return Path(shutil.copytree(_ROOT, tmp_path / "schemas"))


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = orjson.loads(path.read_bytes())
    change(document)
    path.write_bytes(orjson.dumps(document))


def test_the_committed_schemas_agree_with_the_code() -> None:
    """No change of an event goes unnoticed: run `callgate schemas write` and read what changed."""
    result = _run("check", "--directory", str(_ROOT))
    assert result.exit_code == 0, result.output


def test_drift_is_found_and_mended(published: Path) -> None:
    """A missing and a differing file fail the check by name, and writing mends both."""
    (published / "callgate.approval.due.v1.schema.json").unlink()
    _edit(published / "callgate.control.changed.v1.schema.json", lambda old: old.update(description="old words"))
    found = _run("check", "--directory", str(published))
    assert found.exit_code == 1
    assert "callgate.approval.due.v1: has no schema file" in found.output
    assert "callgate.control.changed.v1: the schema file differs" in found.output
    assert _run("write", "--directory", str(published)).exit_code == 0
    assert _run("check", "--directory", str(published)).exit_code == 0


def test_an_incompatible_change_is_not_written(published: Path) -> None:
    """Where the published schema has a field that the code lacks, write changes no file and both commands exit 1."""
    path = published / "callgate.approval.due.v1.schema.json"
    _edit(path, lambda old: old["properties"].update(gone={"type": "string"}))
    before = path.read_bytes()
    for command in ("check", "write"):
        result = _run(command, "--directory", str(published))
        assert result.exit_code == 1
        assert "$.gone: was removed or renamed" in result.output
    assert path.read_bytes() == before


def test_an_unreleased_event_may_change(published: Path) -> None:
    """What no release has carried may change in any way, if it is named."""
    path = published / "callgate.approval.due.v1.schema.json"
    _edit(path, lambda old: old["properties"].update(gone={"type": "string"}))
    result = _run("write", "--directory", str(published), "--unreleased", "callgate.approval.due.v1")
    assert result.exit_code == 0
    assert _run("check", "--directory", str(published)).exit_code == 0


def test_a_removed_event_is_found(published: Path) -> None:
    """A published event without code would leave old records without a reader."""
    path = published / "callgate.approval.due.v1.schema.json"
    path.rename(published / "callgate.approval.sung.v1.schema.json")
    result = _run("check", "--directory", str(published))
    assert result.exit_code == 1
    assert "callgate.approval.sung.v1: is published, and the code has no such event" in result.output


def test_an_earlier_release_is_compared(published: Path) -> None:
    """With --against, the files agree with the code and the change against the release is still found."""
    _edit(
        published / "callgate.approval.due.v1.schema.json",
        lambda old: old["properties"].update(gone={"type": "string"}),
    )
    result = _run("check", "--directory", str(_ROOT), "--against", str(published))
    assert result.exit_code == 1
    assert "differs" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--directory", "/nowhere"),
        ("check", "--against", "/nowhere"),
        ("write", "--unreleased", "callgate.x.v1"),
    ],
)
def test_bad_input_is_named(arguments: tuple[str, ...]) -> None:
    """A directory or type that does not exist is bad input, which the program reports with exit code 2."""
    assert isinstance(_run(*arguments).exception, BadInput)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"properties": 1}'])
def test_a_broken_schema_file_is_named(published: Path, content: bytes) -> None:
    """A published file that is no schema is bad input, not a crash and not agreement."""
    path = published / "callgate.approval.due.v1.schema.json"
    path.write_bytes(content)
    result = _run("check", "--directory", str(published))
    assert isinstance(result.exception, BadInput)
    assert path.name in str(result.exception)
