"""When units are committed, how large they get, and what a dead letter holds."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.memory_log import MemoryLease, MemoryLog
from tests.support.worker_bench import Bench, said, settle

from callgate.clock import ManualClock
from callgate.events.outcomes import OutcomeObserved
from callgate.log.port import LeaseLost, Record
from callgate.settings import TelemetrySettings, WorkerSettings
from callgate.telemetry.metrics import Metrics
from callgate.worker import deadletters
from callgate.worker.committer import UNIT_BYTES, Committer, Entry, linger
from callgate.worker.effects import Context, Effects
from callgate.worker.table import LivingTable


def test_the_first_commit_and_one_after_a_pause_wait_for_nothing() -> None:
    """With little to do an effect must be committed at once."""
    settings = WorkerSettings()
    assert linger(None, 0.01, settings) == float("-inf")
    assert linger(100.0, 0.01, settings) < 101.0


@given(st.floats(0.0001, 0.2), st.floats(0.05, 1.0))
def test_committing_costs_its_share_and_waits_no_longer_than_it_may(cost: float, share: float) -> None:
    """Under load commits must start so far apart that they take their share, unless the limit cuts the wait short."""
    settings = WorkerSettings(commit_share=share)
    apart = linger(0.0, cost, settings)
    assert apart <= cost + settings.linger_most_seconds
    assert apart >= min(cost / share, cost + settings.linger_most_seconds) - 1e-9


def test_an_entry_s_size_counts_what_it_writes() -> None:
    """The bytes of a unit must be bounded by what goes into it."""
    assert Entry((), {"a": b"12345", "b": None}).size() == 5


async def test_a_unit_does_not_outgrow_its_limit_of_bytes() -> None:
    """Large effects must be spread over several units."""
    bench = Bench()
    bench.log.gate.clear()
    size = 900_000

    async def large(event: OutcomeObserved, _: Context) -> Effects:
        return Effects(publish=(said(event.outcome_id),), put={f"kind/{event.outcome_id}": b"x" * size})

    for number in range(20):
        bench.script.steps[str(number)] = large
        bench.see(str(number), lane=str(number))
    async with bench.working():
        await settle()
        bench.log.gate.set()
        await settle()
    assert len(bench.said()) == 20
    for unit in bench.log.units:
        assert sum(len(value or b"") for value in unit.puts.values()) <= UNIT_BYTES


@given(
    st.none() | st.binary(),
    st.lists(st.tuples(st.sampled_from(["ce_type", "callgate_reason", "callgate_topic", "x"]), st.binary())),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_dead_letter_gives_back_the_raw_record(
    value: bytes | None, headers: list[tuple[str, bytes]], reason: str
) -> None:
    """Whatever headers the record had, ours must be told apart and its own must come back as they were."""
    record = Record("turns", 2, 7, b"k", value, tuple(headers), 12.5)
    out = deadletters.letter(record, reason=reason, attempts=3, service="s", subject="act_1", died_at=99.5)
    read = deadletters.read(Record(out.topic, out.partition, 0, out.key, out.value, out.headers, 0.0))
    assert read is not None
    assert (read.key, read.value, read.headers) == (record.key, record.value, record.headers)
    assert (read.topic, read.partition, read.offset, read.timestamp) == ("turns", 2, 7, 12.5)
    assert (read.reason, read.attempts, read.died_at) == (reason[: deadletters.REASON_LENGTH], 3, 99.5)


@pytest.mark.parametrize("headers", [(), (("callgate_reason", b"x"),)])
def test_a_record_that_is_no_dead_letter_is_told_apart(headers: tuple[tuple[str, bytes], ...]) -> None:
    """A foreign record on the topic must be recognised, not misread."""
    assert deadletters.read(Record("deadletters", 0, 0, None, None, headers, 0.0)) is None


def test_a_table_gives_a_prefix_in_order_and_hides_the_worker_s_own() -> None:
    """Items must be sorted, be a snapshot, and show reserved keys only to who asks for them."""
    table = LivingTable({"b/2": b"", "b/1": b"", "a": b"", "~timer/x": b"", "c": b""})
    items = table.items("b/")
    table.apply({"b/3": b"", "b/1": None})
    assert [key for key, _ in items] == ["b/1", "b/2"]
    assert [key for key, _ in table.items("")] == ["a", "b/2", "b/3", "c"]
    assert [key for key, _ in table.items("~timer/")] == ["~timer/x"]


async def test_a_commit_that_ends_after_the_lease_lets_no_next_stage_begin() -> None:
    """Whoever waits for a commit must be refused when the lease has ended meanwhile, even if the unit got through."""
    log = MemoryLog()
    log.gate.clear()
    lease = MemoryLease(log, 0, ("turns",))
    metrics = Metrics(TelemetrySettings()).worker("tester")
    committer = Committer(
        lease, {}, WorkerSettings(), ManualClock(), metrics, on_commit=lambda _: None, on_end=lambda _: None
    )
    running = asyncio.ensure_future(committer.run())
    entry = Entry((), {"a": b"1"}, committed=asyncio.get_running_loop().create_future())
    committer.submit(entry)
    await settle()
    committer.end()
    log.gate.set()
    await running
    assert log.table[0] == {"a": b"1"}
    assert entry.committed is not None
    with pytest.raises(LeaseLost):
        await entry.committed
