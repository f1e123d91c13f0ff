"""The view of `control` that every service keeps: caught up before anything runs, and stopped where it can't be read.

Records are read as they are written, so that a switch works at once; the offset of the last one applied is the epoch
that a worker reports.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import structlog

from callgate.control.scopes import Switches
from callgate.events import topics
from callgate.events.codec import Undecodable, decode, expect
from callgate.events.control import ControlChanged
from callgate.log.port import Log, Record

_RETRY_SECONDS = 1.0

logger = structlog.get_logger(__name__)


class ControlView:
    """Follows `control` from its beginning."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._switches = Switches(readable=False)
        self._following: asyncio.Task[None] | None = None

    @property
    def switches(self) -> Switches:
        """What is in force now. Until the view has caught up, or once it fails, everything counts as stopped."""
        return self._switches

    @property
    def ready(self) -> bool:
        """Whether the view has read all that was written when it started, and still follows."""
        return self._switches.readable

    async def start(self) -> None:
        """Read what there is, then follow. Returns once caught up. Raises what the log raised."""
        await self._catch_up()
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following. Idempotent."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
            self._following = None

    async def _catch_up(self) -> None:
        start = self._switches.epoch + 1
        async for record in self._log.scan(topics.CONTROL.name, 0, start):
            self._apply(record)
        self._switches = replace(self._switches, readable=True)

    async def _follow(self) -> None:
        while True:
            try:
                await self._catch_up()
                async for record in self._log.follow(topics.CONTROL.name, [0], {0: self._switches.epoch + 1}):
                    self._apply(record)
            except Exception as failure:  # noqa: BLE001 - whatever it is, a view that no longer follows must not say go
                logger.warning("control can't be read: everything counts as stopped", reason=type(failure).__name__)
                self._switches = replace(self._switches, readable=False)
            await asyncio.sleep(_RETRY_SECONDS)

    def _apply(self, record: Record) -> None:
        try:
            event = expect(decode(record.value, record.headers), topics.CONTROL.events)
        except Undecodable as error:
            logger.warning("a record of control can't be understood", offset=record.offset, reason=str(error))
            self._switches = self._switches.misread(record.key, record.offset)
            return
        assert isinstance(event, ControlChanged)
        self._switches = self._switches.apply(event, record.offset)
