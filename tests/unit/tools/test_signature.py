"""What becomes of a function's signature."""

from __future__ import annotations

import asyncio
import enum
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict

import pytest

from callgate.failures import BadInput
from callgate.tools.schema import Untypable, read_signature
from callgate.tools.toolbox import Call, Tool, Toolbox


class Colour(enum.Enum):
    """An enum as users write it."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Passenger:
    """A dataclass as users write it."""

    name: str
    age: int | None = None
    tags: list[str] = field(default_factory=list)


class Address(TypedDict):
    """A typed dict as users write it."""

    city: str
    zip: NotRequired[str]


@dataclass
class Tree:
    """A type that contains itself."""

    left: Tree | None


Payment = NewType("Payment", str)


def parameter(annotation: Any, default: Any = inspect.Parameter.empty) -> dict[str, Any]:
    """The schema of the one parameter of a function annotated so."""

    def function(x: Any = default) -> None: ...

    function.__annotations__["x"] = annotation
    if default is inspect.Parameter.empty:
        function.__defaults__ = None
    schema = read_signature(function).parameters["properties"]["x"]
    assert isinstance(schema, dict)
    return schema


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (Any, {}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("int", {"type": "integer"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Colour, {"enum": ["red", "blue"]}),
        (Payment, {"type": "string"}),
        (Annotated[str, "which one"], {"type": "string", "description": "which one"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict, {"type": "object"}),
    ],
)
def test_an_annotation_has_its_schema(annotation: object, schema: dict[str, Any]) -> None:
    """Each supported annotation gives exactly its JSON Schema."""
    assert parameter(annotation) == schema


def test_structures_are_closed() -> None:
    """Dataclasses and typed dicts accept no unknown field, and demand what has no default."""
    assert parameter(Passenger) == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    assert parameter(Address) == {
        "type": "object",
        "properties": {"city": {"type": "string"}, "zip": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }


def test_defaults_make_a_parameter_optional() -> None:
    """A parameter with a default is not required, and the default is shown where it is JSON."""

    def function(a: int, b: int = 2, c: set[str] = frozenset()) -> None: ...  # type: ignore[assignment]

    schema = read_signature(function).parameters
    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["b"]["default"] == 2
    assert "default" not in schema["properties"]["c"]


def bare(x) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


def starred(*x: int) -> None: ...


def keywords(**x: int) -> None: ...


def positional(x: int, /) -> None: ...


def raw_bytes(x: bytes) -> None: ...


def unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def keyed(x: dict[int, str]) -> None: ...


def recursive(x: Tree) -> None: ...


def ambiguous(x: Passenger | Tree) -> None: ...


def called(x: Callable[[], int]) -> None: ...


@pytest.mark.parametrize(
    "function",
    [bare, starred, keywords, positional, raw_bytes, unknown, keyed, recursive, ambiguous, called],
)
def test_what_json_cannot_express_is_refused(function: Callable[..., Any]) -> None:
    """A signature that can't be typed is refused at registration, with the tool's name and a way out."""
    with pytest.raises(Untypable):
        read_signature(function)
    with pytest.raises(BadInput, match=f"tool '{function.__name__}'.*parameters"):
        Toolbox().tool(function)


def test_the_call_is_no_argument() -> None:
    """A parameter `call` is filled by Callgate and never comes from the model, unless it is declared to be a text."""

    def takes(x: int, call: Call) -> None: ...

    def own(call: str) -> None: ...

    box = Toolbox()
    box.tool(takes)
    box.tool(own)
    first, second = box.get("takes"), box.get("own")
    assert first is not None
    assert second is not None
    assert (first.takes_call, list(first.parameters["properties"])) == (True, ["x"])
    assert (second.takes_call, list(second.parameters["properties"])) == (False, ["call"])


def test_the_function_gets_the_types_of_its_signature() -> None:
    """Enums, dataclasses, tuples and whole numbers reach the function as the Python values that it declares."""
    box = Toolbox()

    @box.tool
    def book(colour: Colour, who: Passenger, seat: tuple[int, str], count: int, note: str = "") -> list[object]:
        return [colour, who, seat, count, note]

    @box.tool
    async def later(colour: Colour) -> Colour:
        return colour

    tool, late = box.get("book"), box.get("later")
    assert tool is not None
    assert late is not None
    given = {"colour": "red", "who": {"name": "Ann"}, "seat": [1, "A"], "count": 2.0}
    assert tool.function(**given) == [Colour.RED, Passenger("Ann"), (1, "A"), 2, ""]
    assert inspect.iscoroutinefunction(late.function)
    assert asyncio.run(late.function(colour="blue")) is Colour.BLUE
    assert book(Colour.RED, Passenger("Bob"), (2, "B"), 1) == [Colour.RED, Passenger("Bob"), (2, "B"), 1, ""]


def test_a_schema_of_ones_own_leaves_the_function_alone() -> None:
    """With `parameters` given, the function gets the arguments as JSON, whatever its signature says."""
    box = Toolbox()
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^p"}}}

    @box.tool(parameters=schema)
    def free(**arguments: Any) -> Any:
        return arguments

    tool = box.get("free")
    assert tool is not None
    assert tool.function is free
    assert tool.parameters == schema


def test_the_version_follows_the_schema() -> None:
    """Another schema or name is another version; another description is not."""
    one = Tool(name="a", function=print)
    assert one.version() == Tool(name="a", function=print, description="now described").version()
    assert one.version() != Tool(name="b", function=print).version()
    assert one.version() != Tool(name="a", function=print, parameters={"type": "object", "required": ["x"]}).version()
