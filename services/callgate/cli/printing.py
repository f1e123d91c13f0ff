"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import orjson

from callgate.cli.wording import visible

if TYPE_CHECKING:
    from callgate.cli.play.report import Report

_PIPED_WIDTH = 240
"""Columns of a table that is read by a program or kept in a file."""
_FOLDED = 1.5
"""How many times wider than the terminal a table may be to be folded into it; beyond that nobody can read it."""


def as_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """A table, or the sentence for none. Cells are plain text: nothing in them is markup, or steers the terminal."""
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=False)
    if console.is_terminal and _width(columns, rows) > console.width * _FOLDED:
        _blocks(columns, rows)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold", no_wrap=column == columns[0])  # an id that is folded can't be copied
    for row in rows:
        shown.add_row(*(Text(visible(cell)) for cell in row))
    # A pipe has no width: what is cut at 80 columns can't be searched.
    (console if console.is_terminal else Console(width=_PIPED_WIDTH)).print(shown)


def _width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns of the terminal that a table takes where nothing of it is folded."""
    from rich.cells import cell_len

    return sum(max(cell_len(visible(cell)) for cell in cells) + 2 for cells in zip(columns, *rows, strict=True))


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A row as lines of name and cell, which the terminal breaks where it must, so that commands can be copied."""
    size = max(map(len, columns))
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for column, cell in zip(columns, row, strict=True):
            if cell:
                click.echo(f"{click.style(f'{column:{size}}', bold=True)}  {visible(cell)}")


def show_report(report: Report) -> None:
    """The report of a play or demo."""
    table(("status", "actions"), [(name, str(count)) for name, count in report.by_status.items()], empty="no actions")
    total = max(1, sum(report.decisions.values()))
    click.echo()
    table(
        ("decision", "actions", "share"),
        [(name, str(count), f"{count / total:.0%}") for name, count in report.decisions.items()],
        empty="no decisions",
    )
    latency = report.latency
    if latency["p50"] is not None:
        click.echo(
            f"\nadded latency: p50 {_ms(latency['p50'])}, p95 {_ms(latency['p95'])} over {latency['count']} starts"
        )
    for name, path in report.paths.items():
        click.echo(f"{name}: {path}")
    if not report.violations:
        click.echo(f"\n{report.turns} turns, {report.actions} actions, no violation.")
        return
    click.echo(f"\n{len(report.violations)} violations:")
    table(
        ("promise", "action", "what"),
        [(each.promise, each.action_id, each.detail) for each in report.violations[:50]],
        empty="",
    )


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
