"""Evaluations that are asked for at the same moment, sent to BIGHUB as one request.

It spares both sides most of what a call costs, and it is no more than that: `evaluate/batch` takes no idempotency keys,
so a batch that is repeated after a lost answer is decided anew, under new request ids. What is asked alone keeps its
key; and where BIGHUB can't take a batch, each of its actions is asked alone, so that none suffers for another.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiodataloader import DataLoader

from callgate.bighub.client import Bighub
from callgate.bighub.requests import EvaluateRequest
from callgate.bighub.resolve import Resolution
from callgate.failures import CallgateError, PermanentFailure


class Batches:
    """Asks as `Bighub.evaluate` does, with the same answers and failures; to be used on one event loop."""

    def __init__(self, bighub: Bighub, most: int) -> None:
        """At most so many actions in one request."""
        self._bighub = bighub
        self._loader: DataLoader[EvaluateRequest, Resolution] = DataLoader(
            self._answers,
            max_batch_size=most,
            cache=False,
            get_cache_key=id,  # a request has mappings in it, which have no hash
        )

    async def evaluate(self, request: EvaluateRequest) -> Resolution:
        """The decision on one action. Cancelling it leaves the others of its batch alone."""
        return await self._loader.load(request)

    async def _answers(self, requests: list[EvaluateRequest]) -> list[Any]:
        """A decision or a failure for each; the library gives everybody their own."""
        if len(requests) > 1:
            try:
                return await self._bighub.evaluate_batch(requests)
            except PermanentFailure:
                pass  # of which of them it says that can't be known
        return await asyncio.gather(*(self._alone(each) for each in requests))

    async def _alone(self, request: EvaluateRequest) -> Resolution | CallgateError:
        try:
            return await self._bighub.evaluate(request)
        except CallgateError as failure:
            return failure
