"""`callgate schemas`: writes the JSON Schema of every event, and holds the code against those that are published."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import orjson

from callgate.events.schemas import Schema, breaks, every_schema
from callgate.failures import BadInput

_SUFFIX = ".schema.json"

_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path("schemas"),
    show_default=True,
    help="Where the schema files are.",
)


@click.group()
def schemas() -> None:
    """The published JSON Schema of every event."""


@schemas.command()
@_directory
@click.option(
    "--unreleased",
    multiple=True,
    metavar="TYPE",
    help="An event type that no release has carried yet: it may change in any way. May be repeated.",
)
def write(directory: Path, unreleased: tuple[str, ...]) -> None:
    """Write the schema files; refuse a change that readers of the same version would not understand."""
    unknown = sorted(set(unreleased) - set(every_schema()))
    if unknown:
        raise BadInput("--unreleased", f"{unknown[0]!r} is no event type", "Name one as in its file: NAME.schema.json")
    problems = [text for name, text in _incompatible(directory) if name not in unreleased]
    if problems:
        _fail([*problems, "Nothing was written: keep the field, or add the event's next version beside this one."])
    written = 0
    for name, text in every_schema().items():
        path = directory / f"{name}{_SUFFIX}"
        if _read(path) != text:
            _save(path, text)
            written += 1
    click.echo(f"{written} of {len(every_schema())} schemas written to {directory}")


@schemas.command()
@_directory
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    default=None,
    help="Schemas of an earlier release: nothing may break their readers. The default is the directory itself.",
)
def check(directory: Path, against: Path | None) -> None:
    """Compare the code with the schema files; exit 1 where they differ or where a change would break a reader."""
    for folder in (directory, against or directory):
        if not folder.is_dir():
            raise BadInput(str(folder), "is no directory", "Name the directory that holds the *.schema.json files")
    problems = [text for _, text in _incompatible(against or directory)]
    for name, text in every_schema().items():
        kept = _read(directory / f"{name}{_SUFFIX}")
        if kept is None:
            problems.append(f"{name}: has no schema file; run `callgate schemas write`")
        elif kept != text:
            problems.append(f"{name}: the schema file differs from the code; run `callgate schemas write`")
    if problems:
        _fail(problems)
    click.echo(f"{len(every_schema())} schemas agree with the code")


def _incompatible(directory: Path) -> list[tuple[str, str]]:
    """Per event type, each way in which the code would break readers of the published schemas."""
    found: list[tuple[str, str]] = []
    current = every_schema()
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        name = path.name.removesuffix(_SUFFIX)
        if name not in current:
            found.append((name, f"{name}: is published, and the code has no such event; old records need their reader"))
            continue
        changes = breaks(_load(path), orjson.loads(current[name]))
        found.extend((name, f"{name}: {change}") for change in changes)
    return found


def _load(path: Path) -> Schema:
    try:
        value = orjson.loads(_read(path) or "")
    except orjson.JSONDecodeError as error:
        raise BadInput(str(path), "is not JSON", "Restore it from version control") from error
    if not isinstance(value, dict) or not isinstance(value.get("properties"), dict):
        raise BadInput(str(path), "is no JSON Schema of an event", "Restore it from version control")
    return value


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(str(path), f"can't be read ({type(error).__name__})", "Make it a readable file") from error


def _save(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(str(path), f"can't be written ({type(error).__name__})", "Name a writable directory") from error


def _fail(problems: list[str]) -> None:
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1)
