"""What a toolbox accepts, and how it is found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from callgate.failures import BadInput
from callgate.tools.load import load_toolbox
from callgate.tools.masking import MASK, is_sensitive, mask
from callgate.tools.toolbox import Tool, Toolbox


def tool(**changes: Any) -> Tool:
    """A plain tool, changed."""
    return Tool(**{"name": "t", "function": lambda **_: None, **changes})


async def asynchronous(_arguments: object) -> float:
    return 1.0


def generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": " a"}, "name"),
        ({"function": 3}, "function"),
        ({"function": generator}, "generator"),
        ({"effect": "harmless"}, "effect"),
        ({"effect": "verifiable"}, "probe"),
        ({"probe": print}, "verifiable"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"timeout_seconds": float("inf")}, "timeout_seconds"),
        ({"timeout_seconds": "3"}, "timeout_seconds"),
        ({"sensitive": "password"}, "sensitive"),
        ({"honours": (1,)}, "honours"),
        ({"kinds": ("telepathy",)}, "telepathy"),
        ({"value_from_args": "amount"}, "value_from_args"),
        ({"value_from_args": asynchronous}, "async"),
        ({"domain": ""}, "domain"),
        ({"parameters": {"type": "array"}}, "object"),
        ({"parameters": []}, "object"),
        ({"parameters": {"type": "object", "properties": {"x": {"type": "text"}}}}, "JSON Schema"),
        ({"parameters": {"type": "object", "default": object()}}, "JSON Schema"),
        ({"parameters": {"type": "object", "$ref": "http://127.0.0.1:9/schema"}}, "JSON Schema"),
    ],
)
def test_a_bad_declaration_is_refused(changes: dict[str, Any], told: str) -> None:
    """Registering a tool that can't work names the tool, the field and the way out."""
    with pytest.raises(BadInput, match=told) as caught:
        Toolbox().register(tool(**changes))
    assert caught.value.field.startswith("tool ")
    assert caught.value.way_out


def test_a_name_is_given_once() -> None:
    """Two tools of one name in a toolbox are refused."""
    box = Toolbox()
    box.register(tool())
    with pytest.raises(BadInput, match="twice"):
        box.register(tool())
    assert [each.name for each in box] == ["t"]
    assert len(box) == 1


def test_the_decorator_works_bare_and_with_options() -> None:
    """Both forms register, take the docstring's first paragraph, and return the function itself."""
    box = Toolbox()

    @box.tool
    def plain(x: int) -> int:
        """Say x.

        At length.
        """
        return x

    @box.tool(name="other.name", effect="read", sensitive=("pin",))
    def named() -> None: ...

    first, second = box.get("plain"), box.get("other.name")
    assert first is not None
    assert second is not None
    assert plain(3) == 3
    assert first.description == "Say x."
    assert (second.effect, second.sensitive, second.function) == ("read", ("pin",), named)
    assert box.get("named") is None


def test_a_tool_serves_its_own_kind_of_call() -> None:
    """A function's name does not answer for an MCP request of that name; a tool named after a kind serves that kind."""
    assert tool().accepts("function_call")
    assert not tool().accepts("mcp_approval_request")
    assert tool(name="shell_call").accepts("shell_call")
    assert not tool(name="shell_call").accepts("function_call")
    assert tool(kinds=("custom_tool_call",)).accepts("custom_tool_call")


def test_what_the_box_says_of_all_is_said_of_each_that_says_nothing() -> None:
    """Actor, domain and environment of the box are every tool's, unless it has its own, however it is registered."""

    def ping() -> int:
        return 1

    box = Toolbox(actor="ops-agent", domain="it_actions", environment="production")
    box.register(tool(name="by_hand", actor="someone"))
    box.tool("by_name", ping)
    box.action(environment="staging")(ping)
    about = {each.name: (each.actor, each.domain, each.environment) for each in box}
    assert about == {
        "by_hand": ("someone", "it_actions", "production"),
        "by_name": ("ops-agent", "it_actions", "production"),
        "ping": ("ops-agent", "it_actions", "staging"),
    }


def test_the_default_answers_for_unknown_names() -> None:
    """A default resolves names of any spelling, is asked once per name, and may say no."""
    asked: list[str] = []

    def resolve(name: str) -> Tool | None:
        asked.append(name)
        return None if name == "no" else tool(name=name)

    box = Toolbox(default=resolve)
    assert box.get(" odd\n") is not None
    assert box.get(" odd\n") is box.get(" odd\n")
    assert box.get("no") is None
    assert asked == [" odd\n", "no"]


MODULE = """
from callgate.tools.toolbox import Toolbox
toolbox = Toolbox()
empty = Toolbox()
thing = 3

@toolbox.tool
def ping(x: int) -> int:
    return x
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def test_a_toolbox_is_loaded_from_the_working_directory(here: Path) -> None:
    """`module:attribute` finds a module in the folder that the command was started in."""
    (here / "loaded_tools.py").write_text(MODULE)
    assert [each.name for each in load_toolbox("loaded_tools:toolbox")] == ["ping"]


def test_a_function_may_make_the_toolbox(here: Path) -> None:
    """A function at the address is called for its toolbox, so that one can depend on the environment."""
    (here / "made_tools.py").write_text(MODULE + "def make():\n    return toolbox\n")
    assert [each.name for each in load_toolbox("made_tools:make")] == ["ping"]


@pytest.mark.parametrize(
    ("address", "source", "told"),
    [
        ("nothing", None, "module:attribute"),
        ("m1:", None, "module:attribute"),
        ("no_such_module_here:toolbox", None, "no module"),
        ("m2:missing", MODULE, "m2:toolbox"),
        ("m3:thing", MODULE, "int, not a Toolbox"),
        ("m4:empty", MODULE, "no tools"),
        ("m5:toolbox", "import no_such_dependency", "ModuleNotFoundError.*m5.py:1"),
        ("m6:toolbox", "x = 1\nraise RuntimeError('no\\nway')", "RuntimeError: no at .*m6.py:2"),
        ("m7:toolbox", "def (", "SyntaxError"),
        ("m8:toolbox", "raise SystemExit(0)", "SystemExit"),
        ("m8a:make", "def make():\n    raise RuntimeError('no')", "RuntimeError: no at .*m8a.py:2"),
        ("m8b:make", "def make():\n    return 3", "int, not a Toolbox"),
        ("m9:toolbox", MODULE + "toolbox.tool(lambda x: x, name='bad')", "tool 'bad'"),
    ],
)
def test_a_toolbox_that_cannot_be_loaded_is_explained(here: Path, address: str, source: str | None, told: str) -> None:
    """Whatever is wrong with the user's module is one BadInput, never a traceback and never an exit."""
    if source is not None:
        (here / f"{address.partition(':')[0]}.py").write_text(source)
    with pytest.raises(BadInput, match=told):
        load_toolbox(address)


def test_secrets_are_masked_at_any_depth() -> None:
    """Declared names and names that mean a secret are masked wherever they stand; the value passed in is unchanged."""
    value = {
        "amount": 3,
        "api-key": "k",
        "deep": [{"userPassword": {"x": 1}, "IBAN": "DE1", "max_tokens": 5}],
        "Authorization": "Bearer x",
        "session_token": "t",
    }
    assert mask(value, ("iban",)) == {
        "amount": 3,
        "api-key": MASK,
        "deep": [{"userPassword": MASK, "IBAN": MASK, "max_tokens": 5}],
        "Authorization": MASK,
        "session_token": MASK,
    }
    assert value["api-key"] == "k"
    assert is_sensitive("X-API-Key")
    assert not is_sensitive("keyboard")


def test_names_in_other_scripts_stay_distinct() -> None:
    """A declared name without Latin letters masks itself and nothing else."""
    assert mask({"秘密": 1, "金额": 2, "": 3}, ("秘密",)) == {"秘密": MASK, "金额": 2, "": 3}


def test_what_is_too_deep_to_look_through_is_masked_whole() -> None:
    """Nesting beyond any sane depth can't smuggle a secret out, nor exhaust the stack."""
    value: Any = {"password": "p"}
    for _ in range(5000):
        value = [value]
    masked = mask(value)
    while isinstance(masked, list):
        masked = masked[0]
    assert masked == MASK
