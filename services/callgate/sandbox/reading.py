"""Reading the user's TOML files: every fault names the file, the table, the field, and the way out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from callgate.failures import BadInput


def read_text(path: Path, option: str) -> str:
    """A text file that the user named by `option`. Raises `BadInput` where it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(option, f"{path} can't be read ({type(error).__name__})", "Name a readable TOML file") from error


def read_toml(text: str, source: str) -> dict[str, object]:
    """Decoded TOML. Raises `BadInput` with the line that the parser names."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(source, f"is no TOML: {error}", "Mend the file at that line") from error


def known(found: Mapping[str, object], allowed: tuple[str, ...], where: str) -> None:
    """Raises `BadInput` for the first key that has no meaning here."""
    for name in found:
        if name not in allowed:
            raise BadInput(f"{where}: {name}", "is unknown", f"Use one of {', '.join(allowed)}")


def table(holder: Mapping[str, object], name: str, where: str) -> dict[str, object]:
    """A table, empty where absent. Raises `BadInput` for anything else."""
    found = holder.get(name, {})
    if not isinstance(found, dict):
        raise BadInput(f"{where}: {name}", "is not a table", f"Write [{name}] or {name} = {{ key = value }}")
    return found


def number(holder: Mapping[str, object], name: str, where: str, *, least: float, most: float) -> float | None:
    """A number in a range, None where absent. Raises `BadInput` for anything else."""
    found = holder.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not least <= found <= most:
        raise BadInput(f"{where}: {name}", f"{found!r} is no number in range", f"Use {least:g} to {most:g}")
    return found


def text(holder: Mapping[str, object], name: str, where: str) -> str | None:
    """A text that is not empty, None where absent. Raises `BadInput` for anything else."""
    found = holder.get(name)
    if found is None:
        return None
    if not isinstance(found, str) or not found:
        raise BadInput(f"{where}: {name}", f"{found!r} is no text", 'Write it in quotes, like "refund_*"')
    return found


def globs(holder: Mapping[str, object], name: str, where: str) -> tuple[str, ...]:
    """A text or a list of texts. Raises `BadInput` for anything else, an empty list too: it would match nothing."""
    found = holder.get(name)
    items = found if isinstance(found, list) else [found]
    if not items or not all(isinstance(each, str) and each for each in items):
        raise BadInput(f"{where}: {name}", f"{found!r} is no text, nor a list of texts", 'Write it like "refund_*"')
    return tuple(items)
