"""A worker on a log that behaves: records become effects, once, in order, with their progress."""

from __future__ import annotations

import asyncio

from tests.support.worker_bench import INPUT, OUTPUT, Bench, held, said, seen, settle

from callgate.events.outcomes import OutcomeObserved
from callgate.log.port import Progress
from callgate.worker.effects import Context, Effects


async def test_a_record_becomes_its_effects_and_progress_in_one_unit() -> None:
    """Outputs, state and progress of a record must be in the same unit."""
    bench = Bench()

    async def step(event: OutcomeObserved, _: Context) -> Effects:
        return Effects(publish=(said(event.outcome_id),), put={"kind/a": b"1"})

    bench.script.steps["one"] = step
    bench.see("one")
    async with bench.working():
        await settle()
    (unit,) = bench.log.units
    assert bench.said() == ["one"]
    assert unit.puts == {"kind/a": b"1"}
    assert unit.progress == {INPUT: Progress(1)}


async def test_nothing_is_handled_twice_after_a_restart() -> None:
    """A second worker must go on where the first was told to stop."""
    bench = Bench()
    bench.see("one", "two")
    async with bench.working():
        await settle()
    bench.see("three")
    async with bench.working():
        await settle()
    assert bench.said() == ["one", "two", "three"]


async def test_records_of_a_lane_keep_their_order_while_others_pass() -> None:
    """A slow record must hold up its own lane and no other."""
    bench = Bench()
    release = asyncio.Event()
    bench.script.steps["slow"] = held(release)
    bench.see("slow", "behind")
    bench.see("beside", lane="b")
    async with bench.working():
        await settle()
        assert bench.said() == ["beside"]
        assert bench.log.positions[INPUT, 0] == Progress(0, ((2, 3),))
        release.set()
        await settle()
        assert bench.said() == ["beside", "slow", "behind"]
    assert bench.log.positions[INPUT, 0] == Progress(3)


async def test_what_was_done_out_of_order_is_not_repeated_after_a_crash() -> None:
    """A record that was done beyond an unfinished one must not run again when the lease is claimed anew."""
    bench = Bench()
    release = asyncio.Event()
    bench.script.steps["slow"] = held(release)
    bench.see("slow")
    bench.see("beside", lane="b")
    async with bench.working() as running:
        await settle()
        running.lease.take_away()
        release.set()
        await settle()
    assert sorted(bench.said()) == ["beside", "slow"]
    assert bench.script.calls == ["slow", "beside", "slow"]


async def test_gaps_in_offsets_do_not_stop_progress() -> None:
    """Offsets that the log leaves out must neither be waited for nor be repeated."""
    bench = Bench()
    bench.log.gap = 7
    bench.see("one", "two", "three")
    async with bench.working():
        await settle()
    assert bench.log.positions[INPUT, 0] == Progress(15)


async def test_a_record_delivered_twice_in_one_claim_is_handled_once() -> None:
    """A repeat within a claim must be recognised by its offset, whether it is done or under way."""
    bench = Bench()
    bench.log.twice = True
    bench.see("one", "two")
    bench.see("beside", lane="b")
    async with bench.working():
        await settle()
    assert sorted(bench.said()) == ["beside", "one", "two"]
    assert bench.log.positions[INPUT, 0] == Progress(3)


async def test_state_is_visible_to_later_work_before_it_is_committed() -> None:
    """The living table must hold what was accepted, even while the log is slow."""
    bench = Bench()
    found: list[bytes | None] = []

    async def put(_: OutcomeObserved, __: Context) -> Effects:
        return Effects(put={"kind/a": b"1"})

    async def get(_: OutcomeObserved, context: Context) -> Effects:
        found.append(context.table.get("kind/a"))
        return Effects()

    bench.script.steps |= {"put": put, "get": get}
    bench.log.gate.clear()
    bench.see("put", "get")
    async with bench.working():
        await settle()
        assert found == [b"1"]
        assert bench.table == {}
        bench.log.gate.set()
        await settle()
    assert bench.table == {"kind/a": b"1"}


async def test_effects_accepted_while_a_commit_runs_share_the_next_one() -> None:
    """Under load many effects must become one unit, in the order in which they were accepted."""
    bench = Bench()
    bench.log.gate.clear()
    for number in range(20):
        bench.see(f"{number:02}", lane=str(number))
    async with bench.working():
        await settle()
        bench.log.gate.set()
        await settle()
    assert bench.said() == [f"{number:02}" for number in range(20)]
    assert len(bench.log.units) == 1


async def test_the_trace_and_the_source_travel_to_the_outputs() -> None:
    """An output must carry its cause's traceparent and name the service and member that wrote it."""
    bench = Bench()
    record = bench.log.append(INPUT, seen("one"))
    bench.log.topics[INPUT, 0][0] = type(record)(
        INPUT, 0, 0, None, record.value, (*record.headers, ("traceparent", b"00-aa-bb-01")), 0.0
    )
    async with bench.working():
        await settle()
    headers = dict(bench.log.written(OUTPUT)[0].headers)
    assert headers["traceparent"] == b"00-aa-bb-01"
    assert headers["ce_source"] == b"tester/member-1"


async def test_no_more_than_the_limit_runs_at_once() -> None:
    """The concurrency limit must hold over all lanes."""
    bench = Bench().tune(concurrency=3)
    running, most = 0, 0
    release = asyncio.Event()

    async def count(_: OutcomeObserved, __: Context) -> Effects:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        return Effects()

    for number in range(10):
        bench.script.steps[str(number)] = count
        bench.see(str(number), lane=str(number))
    async with bench.working():
        await settle()
        assert running == 3
        release.set()
        await settle()
    assert (most, len(bench.script.calls)) == (3, 10)


async def test_a_full_window_is_not_fetched_into_and_still_empties() -> None:
    """No more records than the window may be in memory, and every one must be handled in the end."""
    bench = Bench().tune(window=4, tenant_share=1.0)
    release = asyncio.Event()
    names = [f"{number:02}" for number in range(12)]
    for name in names:
        bench.script.steps[name] = held(release)
        bench.see(name, lane=name)
    async with bench.working() as running:
        await settle()
        assert running.worker.leases[0].in_flight == 4
        release.set()
        await settle(400)
        assert sorted(bench.said()) == names
