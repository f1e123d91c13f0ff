"""The view of control knows all switches before it says go, and says stop when it no longer follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import pytest

from callgate.control import view as views
from callgate.control.scopes import Subject
from callgate.control.view import ControlView
from callgate.events.codec import encode
from callgate.events.control import ControlChanged
from callgate.log.port import Log, LogUnavailable, Record

SUBJECT = Subject("t", "a", "pay")


class ControlTopic:
    """The one partition of `control`, which can be made to fail."""

    def __init__(self) -> None:
        """Empty, and readable."""
        self.records: list[Record] = []
        self.failure: Exception | None = None
        self.grown = asyncio.Event()

    def write(self, event: ControlChanged | bytes | None) -> None:
        """Append a record; bytes are one that nobody can read."""
        value, headers = encode(event, source="t", time=0.0) if isinstance(event, ControlChanged) else (event, ())
        self.records.append(Record("control", 0, len(self.records), b"key", value, headers, 0.0))
        self.wake()

    def fail(self, failure: Exception | None) -> None:
        """From now on every read fails so, also one that waits."""
        self.failure = failure
        self.wake()

    def wake(self) -> None:
        """Let whoever follows look again."""
        self.grown.set()
        self.grown = asyncio.Event()

    async def scan(self, topic: str, partition: int, start: int = 0) -> AsyncIterator[Record]:
        """See `Log.scan`."""
        assert (topic, partition) == ("control", 0)
        if self.failure is not None:
            raise self.failure
        for record in self.records[start:]:
            yield record

    async def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        """See `Log.follow`."""
        assert (topic, list(partitions)) == ("control", [0])
        at = start[0]
        while True:
            grown = self.grown
            if self.failure is not None:
                raise self.failure
            while at < len(self.records):
                yield self.records[at]
                at += 1
            await grown.wait()


def change(kind: Any = "stop", *, active: bool = True) -> ControlChanged:
    """A switch over everything."""
    return ControlChanged(kind=kind, active=active, reason="why", changed_by="op", changed_at=0.0)


async def until(true: Callable[[], bool]) -> None:
    """Let the view work until something holds."""
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came to hold")


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> ControlTopic:
    """A topic whose followers try again at once."""
    monkeypatch.setattr(views, "_RETRY_SECONDS", 0.0)
    return ControlTopic()


async def test_it_says_stop_until_it_has_read_everything(topic: ControlTopic) -> None:
    """Before the start nothing is known, so everything is stopped; after it every switch is in force."""
    topic.write(change())
    topic.write(change(active=False))
    topic.write(change("hold"))
    view = ControlView(cast("Log", topic))
    assert not view.ready
    assert view.switches.stopped(SUBJECT) is not None
    await view.start()
    assert view.ready
    assert (view.switches.stopped(SUBJECT), view.switches.held(SUBJECT)) == (None, "why")
    assert view.switches.epoch == 2
    await view.close()


async def test_a_switch_works_as_soon_as_it_is_written(topic: ControlTopic) -> None:
    """It follows, and its epoch is the offset of the last record."""
    view = ControlView(cast("Log", topic))
    await view.start()
    topic.write(change())
    await until(lambda: view.switches.epoch == 0)
    assert view.switches.stopped(SUBJECT) == "why"
    await view.close()


@pytest.mark.parametrize("failure", [LogUnavailable("away"), RuntimeError("a defect"), OSError("disk")])
async def test_a_view_that_fails_says_stop_until_it_has_caught_up(topic: ControlTopic, failure: Exception) -> None:
    """Whatever the failure is, a view that does not follow must not say go; it recovers by itself, missing nothing."""
    view = ControlView(cast("Log", topic))
    await view.start()
    topic.fail(failure)
    await until(lambda: not view.ready)
    assert view.switches.stopped(SUBJECT) is not None
    topic.write(change("hold"))
    topic.fail(None)
    await until(lambda: view.ready)
    assert view.switches.held(SUBJECT) == "why"
    assert view.switches.stopped(SUBJECT) is None
    await view.close()


@pytest.mark.parametrize("junk", [b"junk", None])
async def test_a_record_that_can_not_be_understood_holds_everything(topic: ControlTopic, junk: bytes | None) -> None:
    """It may be a stop of a newer version; the view goes on behind it, and a word about everything ends it."""
    topic.write(junk)
    view = ControlView(cast("Log", topic))
    await view.start()
    assert view.ready
    assert view.switches.held(SUBJECT) is not None
    topic.write(change("hold"))
    topic.write(change("hold", active=False))
    await until(lambda: view.switches.epoch == 2)
    assert view.switches.held(SUBJECT) is None
    await view.close()


async def test_a_start_that_fails_says_so(topic: ControlTopic) -> None:
    """Nothing runs on a view that could not be made."""
    topic.fail(LogUnavailable("away"))
    view = ControlView(cast("Log", topic))
    with pytest.raises(LogUnavailable):
        await view.start()
    assert not view.ready
    with suppress(asyncio.CancelledError):
        await view.close()
