"""Which actions a service has put aside, for the report: parked records hold them whole."""

from __future__ import annotations

import re

from callgate.log.port import Log
from callgate.worker import parking

GROUPS = ("proposer", "evaluator", "approvals", "executor", "reporter")
"""The groups of the five services without which no action comes to its end."""

OPTIONAL_GROUPS = ("notifier", "bridge")
"""Groups of services that an installation may do without."""

_ACTION = re.compile(rb"act_\d{3}_[a-z2-7]{24}")


async def parked_actions(log: Log) -> frozenset[str]:
    """Every action that some parked record is about."""
    found: set[str] = set()
    for group in GROUPS:
        async for _, key, value in log.tables(group):
            if key.startswith(parking.PREFIX):
                found.update(match.decode() for match in _ACTION.findall(parking.decode(value).value or b""))
    return frozenset(found)
