"""Durable timers: once per setting, after what came before them, across restarts."""

from __future__ import annotations

import asyncio

from tests.support.worker_bench import Bench, Step, said, settle

from callgate.events.outcomes import OutcomeObserved
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.worker.effects import Context, Effects, Timer
from callgate.worker.timers import PREFIX


def sets(bench: Bench, key: str, seconds: float, lane: str = "a") -> Step:
    """A step that sets a timer."""
    due = bench.clock.now() + seconds

    async def step(event: OutcomeObserved, _: Context) -> Effects:
        return Effects(publish=(said(event.outcome_id),), timers=(Timer(key, lane, due),))

    return step


async def overdue() -> Bench:
    """A log that is not worked any more, with a timer that has come due since."""
    bench = Bench()
    bench.script.steps["one"] = sets(bench, "wake", 60)
    bench.see("one")
    async with bench.working():
        await settle()
    await bench.clock.advance(100)
    return bench


async def test_a_timer_fires_once_when_it_is_due() -> None:
    """It must not fire before its time, and be gone after."""
    bench = Bench()
    bench.script.steps["one"] = sets(bench, "wake", 60)
    bench.see("one")
    async with bench.working():
        await bench.clock.advance(59)
        assert bench.said() == ["one"]
        assert PREFIX + "wake" in bench.table
        await bench.clock.advance(2)
        await settle()
        assert bench.said() == ["one", "timer wake"]
        await bench.clock.advance(600)
    assert bench.script.calls == ["one", "timer wake"]
    assert bench.table == {}


async def test_a_later_timer_does_not_hide_an_earlier_one() -> None:
    """A timer that is set while the worker sleeps for a later one must wake it in time."""
    bench = Bench()
    bench.script.steps |= {"late": sets(bench, "late", 500), "soon": sets(bench, "soon", 100)}
    bench.see("late")
    async with bench.working():
        await settle()
        bench.see("soon")
        await settle()
        await bench.clock.advance(101)
        await settle()
        assert bench.said() == ["late", "soon", "timer soon"]


async def test_timers_survive_a_restart() -> None:
    """A timer must fire for the next holder of the state, also when its time has passed meanwhile."""
    bench = await overdue()
    async with bench.working():
        await settle()
    assert bench.said() == ["one", "timer wake"]
    assert bench.table == {}


async def test_a_timer_waits_for_what_was_on_the_log_at_the_claim() -> None:
    """A record that came before the restart must be handled before a timer that came due meanwhile, in any lane."""
    bench = await overdue()
    failures = 2

    async def slow(event: OutcomeObserved, _: Context) -> Effects:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise TemporaryFailure("later")
        return Effects(publish=(said(event.outcome_id),))

    bench.script.steps["vote"] = slow
    bench.see("vote", lane="elsewhere")
    async with bench.working():
        await settle()
        assert bench.said() == ["one"]
        await bench.clock.advance(10)
        await settle()
    assert bench.said() == ["one", "vote", "timer wake"]


async def test_an_overdue_timer_fires_soon_after_a_claim_where_only_a_marker_is_left_to_read() -> None:
    """Every claim on Kafka ends behind a marker: deadlines must not wait for as long as an idle fetch does."""
    bench = await overdue()
    bench.log.markers = bench.clock
    async with bench.working():
        await settle()
        assert bench.said() == ["one"]
        await bench.clock.advance(1.0)
        await settle()
        assert bench.said() == ["one", "timer wake"]


async def test_setting_a_key_again_replaces_its_time() -> None:
    """Only the last setting of a key may fire."""
    bench = Bench()
    bench.script.steps |= {"one": sets(bench, "wake", 60), "two": sets(bench, "wake", 200)}
    bench.see("one", "two")
    async with bench.working():
        await bench.clock.advance(100)
        await settle()
        assert "timer wake" not in bench.said()
        await bench.clock.advance(101)
        await settle()
    assert bench.said() == ["one", "two", "timer wake"]


async def test_a_cancelled_timer_does_not_fire_even_from_within_its_lane() -> None:
    """A cancel by a record that ran before the timer in its lane must hold."""
    bench = Bench()
    bench.script.steps["one"] = sets(bench, "wake", 60)

    async def cancels(_: OutcomeObserved, __: Context) -> Effects:
        await bench.clock.sleep(100)
        return Effects(cancel=("wake",))

    bench.script.steps["cancel"] = cancels
    bench.see("one", "cancel")
    async with bench.working():
        await bench.clock.advance(150)
        await settle()
    assert bench.script.calls == ["one", "cancel"]
    assert bench.table == {}


async def test_a_timer_may_set_itself_again() -> None:
    """A handler that sets the key that has just fired must be called again at the new time."""
    bench = Bench()
    bench.script.steps["one"] = sets(bench, "wake", 60)

    async def again(context: Context) -> Effects:
        return Effects(publish=(said("tick"),), timers=(Timer("wake", "a", context.clock.now() + 60),))

    bench.script.timers["wake"] = again
    bench.see("one")
    async with bench.working():
        await bench.clock.advance(185)
        await settle()
    assert bench.said() == ["one", "tick", "tick", "tick"]


async def test_a_timer_that_fails_is_tried_again_and_never_lost() -> None:
    """A temporary or permanent failure of a timer must lead to later attempts that know of the earlier ones."""
    bench = Bench()
    bench.script.steps["one"] = sets(bench, "wake", 60)
    failures: list[Exception] = [TemporaryFailure("later"), PermanentFailure("never"), KeyError("defect")]

    async def fails(context: Context) -> Effects:
        if failures:
            raise failures.pop(0)
        return Effects(publish=(said("at last"),))

    bench.script.timers["wake"] = fails
    bench.see("one")
    async with bench.working():
        await bench.clock.advance(62)
    async with bench.working():
        await bench.clock.advance(200)
        await settle()
    assert bench.said() == ["one", "at last"]
    assert [context.attempt for context in bench.script.contexts[1:]] == [0, 1, 2, 3]
    assert bench.log.written("deadletters") == []


async def test_a_timer_waits_behind_the_parked_records_of_its_lane() -> None:
    """What came before the timer must be handled before it, also when it is parked."""
    bench = Bench()
    left = 14
    bench.script.steps["one"] = sets(bench, "wake", 70)

    async def fails(event: OutcomeObserved, _: Context) -> Effects:
        nonlocal left
        left -= 1
        if left >= 0:
            raise TemporaryFailure("later")
        return Effects(publish=(said(event.outcome_id),))

    bench.script.steps["bad"] = fails
    bench.see("one", "bad")
    async with bench.working():
        await bench.clock.advance(75)
        assert bench.said() == ["one"]
        await bench.clock.advance(200)
        await settle()
    assert bench.said() == ["one", "bad", "timer wake"]


async def test_a_tenants_timers_use_its_share_and_no_more() -> None:
    """Timers of a tenant over its share of the window wait, also after a restart, and another's is served at once."""
    bench = Bench().tune(window=4, concurrency=4, tenant_share=0.5)
    release = asyncio.Event()
    names = [f"flood {number}" for number in range(6)]

    async def sets_many(_: OutcomeObserved, __: Context) -> Effects:
        due = bench.clock.now() + 60
        flood = tuple(Timer(name, name, due, tenant="flood") for name in names)
        return Effects(timers=(*flood, Timer("small", "small", due + 1, tenant="small")))

    async def slow(_: Context) -> Effects:
        await release.wait()
        return Effects()

    bench.script.timers = dict.fromkeys(names, slow)
    bench.script.steps["one"] = sets_many
    bench.see("one")
    async with bench.working():
        await settle()
    async with bench.working():
        await bench.clock.advance(62)
        await settle()
        assert bench.script.calls == ["one", "timer flood 0", "timer flood 1", "timer small"]
        release.set()
        await settle()
        assert sorted(bench.script.calls[1:]) == sorted([f"timer {name}" for name in (*names, "small")])
    assert bench.table == {}


async def test_a_tenants_timer_that_fails_gives_its_place_to_the_next() -> None:
    """A timer that waits to be tried later must not keep its tenant's others from being served."""
    bench = Bench().tune(window=2, concurrency=2, tenant_share=0.5, retry_seconds=0.0)

    async def sets_two(_: OutcomeObserved, __: Context) -> Effects:
        due = bench.clock.now()
        return Effects(timers=tuple(Timer(name, name, due, tenant="t") for name in ("bad", "good")))

    async def fails(_: Context) -> Effects:
        raise TemporaryFailure("not yet", delay=3600)

    bench.script.timers["bad"] = fails
    bench.script.steps["one"] = sets_two
    bench.see("one")
    async with bench.working():
        await bench.clock.advance(1)
        await settle()
    assert bench.said() == ["timer good"]
