"""Asking BIGHUB without a log: our client, and the SDK with its own transport, at the same concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bighub import AsyncBighubClient

from bench.worlds import Usage
from callgate.bighub.client import Bighub
from callgate.bighub.requests import EvaluateRequest
from callgate.cli.collecting import collect_seldom
from callgate.settings import BighubSettings, Secret


async def ours(url: str, count: int, concurrency: int) -> dict[str, float]:
    """The SDK's resources over our transport, with our resolver."""
    collect_seldom()  # as an evaluator does, which is compared with it
    settings = BighubSettings(url=url, key=Secret("bench"), timeout_seconds=60.0)
    async with Bighub(settings, connections=concurrency) as bighub:

        async def one(number: int) -> None:
            await bighub.evaluate(
                EvaluateRequest(
                    action="refund",
                    actor="support",
                    arguments={"payment": f"P-{number}", "amount": 1},
                    context={},
                    idempotency_key=f"bench-{number}",
                )
            )

        return await _many(one, count, concurrency)


async def sdk(url: str, count: int, concurrency: int) -> dict[str, float]:
    """The SDK as it comes."""
    client = AsyncBighubClient(base_url=url, api_key="bench", timeout=60.0, max_retries=0)

    async def one(number: int) -> None:
        payload: Any = {"action": "refund", "actor": "support", "arguments": {"payment": f"P-{number}", "amount": 1}}
        await client.actions.evaluate_payload(payload=payload, idempotency_key=f"bench-{number}")

    try:
        return await _many(one, count, concurrency)
    finally:
        await client.close()


async def _many(one: Callable[[int], Awaitable[None]], count: int, concurrency: int) -> dict[str, float]:
    for number in range(min(concurrency, count)):
        await one(-1 - number)
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await one(number)

    usage = Usage.begin()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return {"count": count, **usage.so_far()}
