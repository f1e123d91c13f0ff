"""Tables fit whoever reads them: a wide terminal, a narrow one, a program."""

from __future__ import annotations

import pytest

from callgate.cli.printing import table

COLUMNS = ("id", "reason", "answer with")
ROW = ("un7hlh3c", "Refunds are looked at by a person.", "callgate approvals approve un7hlh3c")


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int | None) -> str:
    """What a table of one row is on a terminal of so many columns; None: in a pipe."""
    monkeypatch.setenv("COLUMNS", str(columns or 20))
    monkeypatch.setattr("rich.console.Console.is_terminal", columns is not None)
    table(COLUMNS, [ROW], empty="")
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [200, None])
def test_where_there_is_room_a_row_is_a_line(
    columns: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wide terminal and a pipe, whatever COLUMNS says, get one line a row."""
    lines = printed(capsys, monkeypatch, columns).splitlines()
    assert len(lines) == 2
    assert all(cell in lines[1] for cell in ROW)


def test_on_a_narrow_terminal_a_command_can_be_copied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be folded beyond reading is told line by line: every cell stays in one piece."""
    lines = printed(capsys, monkeypatch, 40).splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines[:2]] == list(ROW[:2])
    assert lines[2] == f"answer with  {ROW[2]}"


def test_an_id_is_never_folded(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other cells must be folded the first one stays whole."""
    assert any(line.startswith(ROW[0]) for line in printed(capsys, monkeypatch, 70).splitlines())
