"""The toolbox of an executor that is to die at work: one tool, which takes its time."""

from __future__ import annotations

import asyncio

from callgate.tools.toolbox import Toolbox

SECONDS = 1.0
"""Long enough to be killed in, short enough to wait for."""

toolbox = Toolbox()


@toolbox.tool(effect="idempotent")
async def refund(payment: str, amount: int, note: str) -> str:
    """Pay money back, slowly."""
    del payment, amount, note
    await asyncio.sleep(SECONDS)
    return "done"
