"""The rules of the house, held by a test because a reviewer forgets."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES = 400
FUNCTION_LINES = 60
BANNED = {"utils", "util", "common", "helpers", "helper", "base", "core", "shared", "misc"}
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted",
    "registry.npm" + "js",
    "repo.maven" + ".apache",
    "proxy." + "golang",
]
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")

TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"],  # noqa: S607 - git is the machine's
        capture_output=True,
        check=True,
        text=True,
    ).stdout.splitlines()
]
PYTHON = [path for path in TRACKED if path.suffix == ".py" and path.exists()]
TEXT = [path for path in TRACKED if path.exists() and path.suffix not in {".png", ".ico"} and path.is_file()]


def named(path: Path) -> str:
    """A file's name in a test's id."""
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function in a module."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_rules_see_the_code() -> None:
    """The rules are held against real files, not against an empty list."""
    assert len(PYTHON) > 50


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_sizes_and_docstrings(path: Path) -> None:
    """A file is at most 400 lines, a function 60, and every module and every test says what it is for."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no docstring on the module"
    for function in functions(tree):
        assert (function.end_lineno or 0) - function.lineno < FUNCTION_LINES, f"{function.name} is too long"
        if path.name.startswith("test_") and function.name.startswith("test_"):
            assert ast.get_docstring(function), f"{function.name} does not say what must hold"


def test_no_banned_names() -> None:
    """No folder or module is a drawer for everything."""
    for path in PYTHON:
        parts = {*path.relative_to(ROOT).parts[:-1], path.stem}
        assert not parts & BANNED, f"{named(path)} has a name that says nothing"


def test_no_registry_and_no_machine_is_named() -> None:
    """No package registry's host and no path of a developer's machine stands in the project."""
    for path in TEXT:
        text = path.read_text(encoding="utf-8", errors="ignore")
        for host in REGISTRIES:
            assert host not in text, f"{named(path)} names a package registry"
        assert not MACHINE.search(text), f"{named(path)} names a path of a machine"
