"""Effects keep the response's order unless told otherwise, and one effect is one start."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.support.execution_bench import ExecutionBench

from callgate.events import topics
from callgate.events.actions import ActionDecided


def bench(**options: Any) -> ExecutionBench:
    """A bench with the one tool `pay`, which notes in which order it was started."""
    made = ExecutionBench()
    made.tool(**options)
    return made


def order_of(on: ExecutionBench) -> list[int]:
    """The positions of what was executed, in the order of the ends."""
    return [end.action.ref.position for end in on.ends() if end.status == "executed"]


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(4))))
async def test_effects_keep_the_response_order_however_decisions_arrive(arrival: tuple[int, ...]) -> None:
    """Whatever order the decisions come in, the tools run in the order of the calls."""
    on = bench()
    for position in arrival:
        await on.deliver(on.decided(on.proposed(position)))
        await on.fire_due()
    assert order_of(on) == [0, 1, 2, 3]
    assert all(count == 1 for count in on.starts.values())


async def test_what_waits_for_a_person_holds_up_nobody() -> None:
    """A review is passed by the calls behind it, and runs when it is approved."""
    on = bench()
    await on.deliver(on.decided(on.proposed(1)))
    await on.deliver(on.decided(on.proposed(0), "review"))
    await on.fire_due()
    assert order_of(on) == [1]
    await on.deliver(on.decided(on.proposed(0), by="approval", approval_id="apr_000_aaaaaaaaaaaaaaaaaaaaaaaa"))
    assert order_of(on) == [1, 0]


@pytest.mark.parametrize("verdict", ["block", "refuse", "needs_context"])
async def test_what_never_runs_holds_up_nobody(verdict: Any) -> None:
    """An earlier call that ends unstarted wakes the ones behind it."""
    on = bench()
    await on.deliver(on.decided(on.proposed(1)))
    await on.deliver(on.decided(on.proposed(0), verdict))
    await on.fire_due()
    assert order_of(on) == [1]


async def test_tools_that_may_run_beside_others_do_not_wait() -> None:
    """A tool that is declared parallel runs at once, and holds up nothing."""
    on = bench(parallel=True)
    await on.deliver(on.decided(on.proposed(2)))
    assert order_of(on) == [2]


async def test_a_crash_while_others_wait_wakes_them_in_the_end() -> None:
    """What is in doubt holds up nobody for ever."""
    on = bench()

    def die(stage: int) -> None:
        if stage == 1:
            raise RuntimeError

    on.before_stage = die
    with pytest.raises(RuntimeError):
        await on.deliver(on.decided(on.proposed(0)))
    on.before_stage = lambda _: None
    on.boot()
    await on.deliver(on.decided(on.proposed(1)))
    assert order_of(on) == []
    await on.clock.advance(37.0)
    await on.fire_due()
    assert len(on.doubts()) == 1
    assert order_of(on) == [1]


async def test_a_review_that_is_repeated_never_undoes_an_allow_that_waits() -> None:
    """A late repeat of the review leaves the approved call in its queue."""
    on = bench()
    allow = on.decided(on.proposed(1))
    await on.deliver(allow)
    await on.deliver(on.decided(on.proposed(1), "review"))
    await on.deliver(on.decided(on.proposed(0)))
    await on.fire_due()
    assert order_of(on) == [0, 1]


async def sent_on(on: ExecutionBench, position: int, **changes: Any) -> ActionDecided:
    """Deliver a call with the effect key `k` at home; what is sent to where its effect is claimed."""
    action = on.proposed(position, effect_key="k", **changes)
    await on.deliver(on.decided(action))
    decided = on.published[-1]
    assert isinstance(decided, ActionDecided)
    return decided


async def test_two_actions_of_one_effect_start_once() -> None:
    """Two calls that mean the same effect meet at its claim: the second ends unstarted."""
    on = bench()
    for position in (0, 1):
        decided = await sent_on(on, position)
        for _ in range(2):
            await on.deliver(decided, topics.EFFECTS.name)
    assert on.statuses() == ["executed", "not_executed"]
    assert sum(on.starts.values()) == 1


async def test_an_effect_that_never_happened_may_be_claimed_by_another() -> None:
    """A first call that ended unstarted leaves the effect free."""
    on = bench()
    first = await sent_on(on, 0)
    on.after_commit = lambda stage: on.stop() if stage == 0 else None
    await on.deliver(first, topics.EFFECTS.name)
    on.after_commit = lambda _: None
    on.switches = type(on.switches)()
    await on.deliver(await sent_on(on, 1), topics.EFFECTS.name)
    assert on.statuses() == ["killed", "executed"]


async def test_an_effect_in_doubt_is_not_started_for_another() -> None:
    """While nobody knows whether it happened, nobody starts it again under another name."""

    def raising() -> None:
        raise TimeoutError

    on = bench(behave=raising)
    for position in (0, 1):
        await on.deliver(await sent_on(on, position), topics.EFFECTS.name)
    assert len(on.doubts()) == 1
    assert on.statuses() == ["not_executed"]
    assert sum(on.starts.values()) == 1


async def test_a_stale_yes_at_the_effect_comes_home_and_is_sent_on_again() -> None:
    """An action that was sent back from its effect's claim passes home under its next attempt."""
    on = bench()
    decided = await sent_on(on, 0)
    await on.clock.advance(99.5)
    await on.deliver(decided, topics.EFFECTS.name)
    (again,) = on.again()
    await on.deliver(on.decided(again))
    second = on.published[-1]
    assert isinstance(second, ActionDecided)
    await on.deliver(decided, topics.EFFECTS.name)
    await on.deliver(second, topics.EFFECTS.name)
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 1


async def test_an_effect_waits_for_the_calls_before_it() -> None:
    """A call with an effect key is sent on only when the earlier ones of its turn have ended, and holds up none."""
    on = bench()
    keyed = on.proposed(1, effect_key="k")
    await on.deliver(on.decided(keyed))
    await on.deliver(on.decided(on.proposed(2)))
    assert not on.published
    await on.deliver(on.decided(on.proposed(0)))
    await on.fire_due()
    (decided,) = (event for event in on.published if isinstance(event, ActionDecided))
    assert decided.action == keyed
    assert order_of(on) == [0, 2]
    await on.deliver(decided, topics.EFFECTS.name)
    assert order_of(on) == [0, 2, 1]


async def test_what_was_sent_on_is_not_decided_again_at_home() -> None:
    """Another decision on the same attempt changes nothing at home: its one end is made where its effect is claimed."""
    on = bench()
    action = on.proposed(0, effect_key="k")
    decided = await sent_on(on, 0)
    await on.deliver(on.decided(action, "block", by="approval", approval_id="apr_000_aaaaaaaaaaaaaaaaaaaaaaaa"))
    assert not on.ends()
    await on.deliver(decided, topics.EFFECTS.name)
    assert on.statuses() == ["executed"]


async def test_effects_are_forgotten_after_the_identity_window() -> None:
    """Nothing is left of an effect, wherever its call came to its end."""
    on = bench()
    decided = await sent_on(on, 0)
    await on.clock.advance(99.5)
    await on.deliver(decided, topics.EFFECTS.name)
    (again,) = on.again()
    await on.deliver(on.decided(again, "block"))
    await on.deliver(await sent_on(on, 1), topics.EFFECTS.name)
    assert on.statuses() == ["blocked", "executed"]
    await on.clock.advance(topics.IDENTITY_WINDOW + 1)
    await on.fire_due()
    assert not on.table.entries
    assert not on.timers


async def test_an_effect_that_another_call_has_claimed_since_stays_noted() -> None:
    """Forgetting a call that never had its effect does not free the effect for a third."""
    on = bench()
    first = await sent_on(on, 0)
    on.after_commit = lambda stage: on.stop() if stage == 0 else None
    await on.deliver(first, topics.EFFECTS.name)
    on.after_commit = lambda _: None
    on.switches = type(on.switches)()
    await on.clock.advance(topics.IDENTITY_WINDOW - 10)
    await on.deliver(await sent_on(on, 1), topics.EFFECTS.name)
    await on.clock.advance(20)
    await on.fire_due()
    await on.deliver(await sent_on(on, 2, parallel=True), topics.EFFECTS.name)
    assert on.statuses() == ["killed", "executed", "not_executed"]
