"""Addresses of a log: what they open, and what is said of the ones that open nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from callgate.clock import SystemClock
from callgate.failures import BadInput
from callgate.log.address import file_of, open_log


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///callgate.db", "callgate.db"),
        ("sqlite:////tmp/callgate.db", "/tmp/callgate.db"),  # noqa: S108 - nothing is written there
        ("sqlite://:memory:", ":memory:"),
    ],
)
def test_addresses_name_their_file(address: str, file: str) -> None:
    """Three slashes are a file here, four an absolute one."""
    assert file_of(address) == file


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "no address"),
        ("callgate.db", "no address"),
        ("sqlite://callgate.db", "no address"),
        ("sqlite:///", "no address"),
        ("postgres://host/db", "no address"),
        ("kafka://broker", "no host and port"),
        ("sqlite:///no/such/folder/callgate.db", "does not exist"),
    ],
)
async def test_what_opens_nothing_says_what_would(address: str, says: str) -> None:
    """An address that can't be used names the setting, the problem and the way out."""
    with pytest.raises(BadInput, match=says) as caught:
        await open_log(address, clock=SystemClock())
    assert caught.value.field == "CALLGATE_LOG"
    assert caught.value.way_out


async def test_a_folder_is_not_a_log(tmp_path: Path) -> None:
    """A folder's name is taken for what it is."""
    with pytest.raises(BadInput, match="is a folder"):
        await open_log(f"sqlite:///{tmp_path}", clock=SystemClock())


async def test_too_few_partitions_are_refused(tmp_path: Path) -> None:
    """A log has at least one partition, and no file is left behind by the mistake."""
    with pytest.raises(BadInput, match="too few"):
        await open_log(f"sqlite:///{tmp_path}/x.db", clock=SystemClock(), partitions=0)
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test may look
