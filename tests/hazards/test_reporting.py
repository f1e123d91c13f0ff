"""Hazards of the published adapter in reporting, H4 and H6: neither can happen here."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.small_gate import counting, small_gate, statuses, until


async def test_h04_a_report_that_fails_relabels_nothing(tmp_path: Path) -> None:
    """The call stays executed, and when BIGHUB takes reports again it gets one outcome, which says so."""
    ran: list[int] = []
    faults = '[[fault]]\nroute = "POST /outcomes/report"\nstatus = 503\ntimes = 3\n'
    async with small_gate(tmp_path, counting(ran), faults=faults) as gate:
        response = await gate.client.run('call act {"n": 1}', "any")
        assert statuses(response) == ["executed"]
        request_id = response["execution"]["last"]["decision"]["request_id"]
        await until(lambda: bool(gate.outcomes()))
        assert gate.outcomes() == [(request_id, "SUCCESS")]
    assert ran == [1]


async def test_h06_reporting_takes_no_time_of_a_turn(tmp_path: Path) -> None:
    """While each report takes half a minute, a turn takes what its own work takes."""
    slow = '[[fault]]\nroute = "POST {}*"\ndelay_seconds = 30\n'
    faults = slow.format("/outcomes/") + slow.format("/ingest")
    async with small_gate(tmp_path, counting([]), faults=faults) as gate:
        began = time.monotonic()
        assert statuses(await gate.client.run('call act {"n": 1}', "any")) == ["executed"]
        assert time.monotonic() - began < 25
        # The services are left without their drain: what is being reported is reported by whoever comes next.
