"""Where a play keeps what is not on its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from callgate.cli.play import recorded
from callgate.failures import BadInput


def test_a_file_has_it_beside_itself(tmp_path: Path) -> None:
    """An embedded log's witness lies next to the log, whatever prefix there is."""
    assert recorded.beside_of(f"sqlite:///{tmp_path}/play.db", "x.") == tmp_path / "play.db"
    with pytest.raises(BadInput, match="has no file"):
        recorded.beside_of("sqlite://:memory:", "")


def test_brokers_and_prefixes_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Kafka it lies in the working directory: the same for every process there, another for every other log."""
    monkeypatch.chdir(tmp_path)
    address, names = "kafka://b:9092", ("", "a.", "b.")
    found = [recorded.beside_of(each, name) for each in (address, "kafka://c:9092") for name in names]
    assert len({*found}) == len(found)
    assert {each.parent for each in found} == {tmp_path}
    assert recorded.beside_of(f"{address}?hostile=7", "a.") == recorded.beside_of(address, "a.")


@pytest.mark.parametrize("state", [True, False])
def test_what_an_earlier_log_left_is_set_aside(tmp_path: Path, *, state: bool) -> None:
    """Effects of a log that is gone count for none on a new one, and are kept; a BIGHUB that runs keeps its state."""
    beside = tmp_path / "callgate-x"
    recorded.witness_file(beside).write_text("before")
    recorded.sandbox_file(beside).write_text("before")
    recorded.set_aside(beside, state=state)
    assert not recorded.witness_file(beside).exists()
    assert recorded.sandbox_file(beside).exists() is not state
    assert sum(path.read_text() == "before" for path in tmp_path.iterdir()) == 2
    recorded.set_aside(beside, state=state)
