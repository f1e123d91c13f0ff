"""The embedded engine's own: the file when it is locked, full, failing or somebody else's, and what is cheap."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.log_engines import GROUP, IN, OUT, all_leases, embedded, lease_of, publish, sent, table, values

from callgate.clock import ManualClock, SystemClock
from callgate.failures import BadInput
from callgate.log.address import open_log
from callgate.log.port import CommitUnknown, LeaseLost, Log, LogUnavailable, Position, Progress, Unit
from callgate.log.sqlite import engine, schema
from callgate.log.sqlite.store import Write

UNIT = Unit((sent(b"out", topic=OUT),), {"k": b"v"}, {IN: Progress(7)})


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file whose lock is not waited for long."""
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.1)
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
async def log(address: str) -> AsyncIterator[Log]:
    """A log in that file."""
    opened = await open_log(address, clock=SystemClock())
    yield opened
    await opened.close()


@contextmanager
def locked(address: str) -> Iterator[None]:
    """Another program writes to the file and does not finish."""
    other = sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


class Failing:
    """A connection whose next COMMIT, or other statement, fails, before or after it has been carried out."""

    def __init__(self, real: sqlite3.Connection, code: str, *, after: bool = False, statement: str = "COMMIT") -> None:
        self._real, self._code, self._after, self._statement = real, code, after, statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if statement != self._statement or not self._code:
            return self._real.execute(statement, *values)
        error = sqlite3.OperationalError("planted")
        error.sqlite_errorname, self._code = self._code, ""
        if self._after:
            self._real.execute(statement)
        raise error


def plant(log: Log, code: str, *, after: bool = False) -> None:
    """Let the next COMMIT fail with an SQLite error."""
    connection = embedded(log).store._connection
    connection.db = Failing(connection.db, code, after=after)  # type: ignore[assignment]


async def test_a_locked_file_is_named_and_costs_nothing(log: Log, address: str) -> None:
    """While another program holds the lock, writes end in `LogUnavailable`, reads go on, and later the unit works."""
    lease = await lease_of(log, 0)
    with locked(address):
        with pytest.raises(LogUnavailable, match=r"log\.db.*locked"):
            await lease.commit(UNIT)
        with pytest.raises(LogUnavailable, match="locked"):
            await publish(log, [b"x"])
        assert await values(log, OUT) == []
        assert await lease.held()
    await lease.commit(UNIT)
    assert (await values(log, OUT), await table(log)) == ([b"out"], {(0, "k"): b"v"})


async def test_a_lock_is_waited_for_once(log: Log, address: str) -> None:
    """Many writers that are locked out at the same time are told together, and do not wait one after the other."""
    started = time.monotonic()
    with locked(address):
        ends = await asyncio.gather(*(publish(log, [b"x"]) for _ in range(40)), return_exceptions=True)
    assert [type(end) for end in ends] == [LogUnavailable] * 40
    assert time.monotonic() - started < 2.0


async def test_a_lock_is_waited_out_when_it_is_short(log: Log, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is only slow is waited for: nobody hears of it."""
    with locked(address):
        publishing = asyncio.ensure_future(publish(log, [b"x"]))
        await asyncio.sleep(0.02)
    await publishing
    assert await values(log, IN) == [b"x"]


async def test_a_lease_that_could_not_be_given_back_is_freed_later(log: Log, address: str) -> None:
    """A release that fails is no error, and leaves no lease that nobody can have."""
    group = await log.join(GROUP, [IN])
    leases = await all_leases(group, 4)
    with locked(address):
        await leases[1].release()
        with pytest.raises(LeaseLost):
            await leases[1].commit(UNIT)
    (again,) = await all_leases(group, 1, seconds=3)
    assert (again.number, again.epoch) == (leases[1].number, leases[1].epoch + 1)


async def test_closing_while_the_file_is_locked_ends(address: str) -> None:
    """A log closes although it can't say so in the file; the next one has all leases once the silence is noticed."""
    clock = ManualClock()
    log = await open_log(address, clock=clock)
    await all_leases(await log.join(GROUP, [IN]), 4)
    with locked(address):
        await log.close()
    later = ManualClock(clock.now() + 10)
    later._start = clock._start  # the same host's monotonic time
    reopened = await open_log(address, clock=later)
    assert len(await all_leases(await reopened.join(GROUP, [IN]), 4)) == 4
    await reopened.close()


async def test_a_lock_of_everybody_expels_nobody(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that could not write for a while because nobody could are not taken for dead by the first that can."""
    clock = ManualClock()
    logs = [await open_log(address, clock=clock) for _ in range(2)]
    for log in logs:
        for task in embedded(log)._tasks:
            task.cancel()
    groups = [await log.join(GROUP, [IN]) for log in logs]
    leases = await all_leases(groups[0], 2) + await all_leases(groups[1], 2)
    clock._now += engine.DEAD_SECONDS * 3
    for log in logs:
        await embedded(log).beat()
    assert all([await lease.held() for lease in leases])
    clock._now += engine.DEAD_SECONDS - 0.5
    await embedded(logs[0]).beat()
    clock._now += 1
    await embedded(logs[0]).beat()
    assert [await lease.held() for lease in leases] == [True, True, False, False]
    for log in logs:
        await log.close()


async def test_a_full_disk_is_named_and_the_same_unit_works_later(log: Log) -> None:
    """A unit that does not fit ends in `LogUnavailable`, nothing of it is visible, and it can be written later."""
    lease = await lease_of(log, 0)
    big = Unit((sent(b"x" * 900_000, topic=OUT),), {"k": b"v"}, {IN: Progress(7)})
    await _most_pages(log, 20)
    with pytest.raises(LogUnavailable, match=r"log\.db: the disk is full"):
        await lease.commit(big)
    assert (await values(log, OUT), await table(log), await log.progress(GROUP)) == ([], {}, {})
    assert await lease.held()
    await lease.commit(Unit(puts={"small": b"fits"}))
    await _most_pages(log, 2**30)
    await lease.commit(big)
    assert len(await values(log, OUT)) == 1
    assert await table(log) == {(0, "k"): b"v", (0, "small"): b"fits"}


async def test_what_does_not_fit_fails_alone(log: Log) -> None:
    """Of writes that share a transaction, only the one that is too big for the disk fails."""
    await publish(log, [b"first"])
    await _most_pages(log, 40)
    ends = await asyncio.gather(
        publish(log, [b"a"]), publish(log, [b"x" * 900_000]), publish(log, [b"b"]), return_exceptions=True
    )
    assert [isinstance(end, LogUnavailable) for end in ends] == [False, True, False]
    assert await values(log, IN) == [b"first", b"a", b"b"]


async def _most_pages(log: Log, pages: int) -> None:
    inner = embedded(log)
    statement = f"PRAGMA max_page_count={pages}"
    await inner.call(lambda: inner.store._connection.db.execute(statement).fetchall())


@pytest.mark.parametrize("after", [False, True])
async def test_a_commit_of_unknown_end_is_whole_or_nothing(log: Log, after: bool) -> None:  # noqa: FBT001
    """Where the disk fails in the commit itself the lease has ended, and the next one shows all of it or nothing."""
    group = await log.join(GROUP, [IN])
    lease = (await all_leases(group, 4))[0]
    plant(log, "SQLITE_IOERR_FSYNC", after=after)
    with pytest.raises(CommitUnknown, match=r"log\.db"):
        await lease.commit(UNIT)
    with pytest.raises(LeaseLost):
        await lease.commit(UNIT)
    (again,) = await all_leases(group, 1, seconds=3)
    assert again.number == lease.number
    visible = (await values(log, OUT), dict(again.table), again.progress[IN])
    assert visible == (([b"out"], {"k": b"v"}, Progress(7)) if after else ([], {}, Progress()))


async def test_a_transaction_that_can_not_be_undone_is_undone_later(log: Log) -> None:
    """Where even the rollback fails the caller hears of its own trouble, and the next unit is not in its way."""
    connection = embedded(log).store._connection
    lease = await lease_of(log, 0)
    plant(log, "SQLITE_FULL")
    connection.db = Failing(connection.db, "SQLITE_IOERR_READ", statement="ROLLBACK")  # type: ignore[assignment]
    with pytest.raises(LogUnavailable, match=r"disk is full"):
        await lease.commit(UNIT)
    await lease.commit(UNIT)
    assert await values(log, OUT) == [b"out"]


async def test_members_live_while_old_records_are_dropped(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long maintenance takes, the beats go on."""
    clock = ManualClock()
    log = await open_log(address, clock=clock)
    lease = await lease_of(log, 0)
    maintaining = asyncio.Event()

    async def endless(*_: object) -> None:
        maintaining.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(embedded(log), "_compact", endless)
    monkeypatch.setattr(embedded(log), "_forget", endless)
    await clock.advance(engine.MAINTENANCE_SECONDS)
    await maintaining.wait()
    for _ in range(20):
        await clock.advance(engine.BEAT_SECONDS)
        await asyncio.sleep(0.01)
    beaten = embedded(log)._beaten
    assert beaten is not None
    assert clock.monotonic() - beaten < engine.DEAD_SECONDS
    assert await lease.held()
    await log.close()


async def test_a_publish_of_unknown_end_says_so(log: Log) -> None:
    """Where the disk fails in the commit of a publish, the caller is told that it can't be known."""
    plant(log, "SQLITE_IOERR_WRITE")
    with pytest.raises(CommitUnknown):
        await publish(log, [b"x"])
    await publish(log, [b"y"])
    assert await values(log, IN) == [b"y"]


async def test_a_defect_is_not_taken_for_trouble(log: Log) -> None:
    """A mistake of the engine is raised as what it is, to whom it concerns, and is never retried as an outage."""
    inner = embedded(log)

    def broken() -> list[Position]:
        inner.store._connection.db.execute("INSERT INTO meta VALUES ('format', 9)")
        return []

    with pytest.raises(sqlite3.OperationalError):
        await inner.call(lambda: inner.store._connection.db.execute("SELECT nonsense"))
    with pytest.raises(sqlite3.IntegrityError):
        await inner.write(broken)
    await publish(log, [b"x"])


async def test_n_is_the_file_s(address: str) -> None:
    """The number of partitions is recorded when the file is made; who opens it with another number gets the first."""
    first = await open_log(address, clock=SystemClock(), partitions=6)
    await first.close()
    second = await open_log(address, clock=SystemClock(), partitions=3)
    assert second.partitions == 6
    await second.close()


async def test_another_format_is_refused(log: Log, address: str) -> None:
    """A file that another version wrote is not touched: the message names both formats."""
    await log.close()
    file = sqlite3.connect(address.removeprefix("sqlite:///"))
    file.execute("UPDATE meta SET value = 99 WHERE name = 'format'")
    file.commit()
    file.close()
    with pytest.raises(BadInput, match=f"format 99.*format {schema.FORMAT}"):
        await open_log(address, clock=SystemClock())


async def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    """Tables are not made in a database that is somebody else's."""
    path = tmp_path / "other.db"
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE letters (text)")
    file.commit()
    with pytest.raises(BadInput, match="something else"):
        await open_log(f"sqlite:///{path}", clock=SystemClock())
    assert [name for (name,) in file.execute("SELECT name FROM sqlite_master")] == ["letters"]
    file.close()


async def test_opening_needs_no_lock(log: Log, address: str) -> None:
    """A finished file can be opened and read while another program writes to it."""
    await publish(log, [b"x"])
    with locked(address):
        reader = await open_log(address, clock=SystemClock())
        assert await values(reader, IN) == [b"x"]
        await reader.close()


async def test_what_one_process_wants_written_at_once_shares_a_sync(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that come while another is being written go together in one transaction."""
    store = embedded(log).store
    sizes: list[int] = []
    write = store.write

    def counted(parts: Sequence[Write]) -> list[list[Position] | Exception]:
        sizes.append(len(parts))
        return write(parts)

    monkeypatch.setattr(store, "write", counted)
    await asyncio.gather(*(publish(log, [str(number).encode()]) for number in range(30)))
    assert sizes == [1, 29]
    assert await values(log, IN) == [str(number).encode() for number in range(30)]


async def test_a_read_is_bounded_in_bytes(log: Log) -> None:
    """A fetch returns a bounded amount, however many records it was asked for, and the next one goes on."""
    lease = await lease_of(log, 0)
    for _ in range(3):
        await publish(log, [b"x" * 900_000] * 6)
    sizes = []
    while records := await lease.fetch(1000, 0.05):
        sizes.append(len(records))
    assert sum(sizes) == 18
    assert max(sizes) < 18
