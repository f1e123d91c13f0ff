"""The measurement of many open approvals measures a service that really goes on with them."""

from __future__ import annotations

from pathlib import Path

from bench.pending import filled, restored
from bench.worlds import PARTITIONS


async def test_every_lease_answers_after_a_restore(tmp_path: Path) -> None:
    """What is filled in is what the service reads: on each lease a vote ends an approval that was restored."""
    address = f"sqlite:///{tmp_path / 'log.db'}"
    await filled(address, "", 10 * PARTITIONS)
    found = await restored(address, "")
    assert found["wall"] > 0
    assert found["peak_mb"] > 0
