"""What fails: retried in its lane, parked, or buried together with what ends its action."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.worker_bench import INPUT, Bench, Step, echo, said, seen, settle

from callgate.events.codec import MAX_RECORD_BYTES, TooLarge
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import Address
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.log.port import Progress
from callgate.worker import deadletters, parking
from callgate.worker.effects import Context, DeadLettered, Effects, Publish
from callgate.worker.worker import BrakeTripped

DEAD = "deadletters"


def failing(times: int, failure: Exception) -> Step:
    """Fail so often, then echo."""
    left = times

    async def step(event: OutcomeObserved, context: Context) -> Effects:
        nonlocal left
        left -= 1
        if left >= 0:
            raise failure
        return await echo(event, context)

    return step


def letters(bench: Bench) -> list[deadletters.DeadLetter]:
    """The dead letters that were written."""
    found = [deadletters.read(record) for record in bench.log.written(DEAD)]
    assert None not in found
    return [letter for letter in found if letter is not None]


async def test_a_temporary_failure_holds_up_only_its_lane() -> None:
    """A record that fails for now must be retried before its followers, while other lanes go on."""
    bench = Bench()
    bench.script.steps["bad"] = failing(2, TemporaryFailure("later"))
    bench.see("bad", "behind")
    bench.see("beside", lane="b")
    async with bench.working():
        await settle()
        assert bench.said() == ["beside"]
        await bench.clock.advance(5)
        await settle()
        assert bench.said() == ["beside", "bad", "behind"]
    assert [context.attempt for context in bench.script.contexts] == [0, 0, 1, 2, 0]


async def test_a_retry_waits_at_least_as_long_as_the_other_side_asked() -> None:
    """Retry-After must be honoured."""
    bench = Bench()
    bench.script.steps["bad"] = failing(1, TemporaryFailure("later", delay=30))
    bench.see("bad")
    async with bench.working():
        await bench.clock.advance(29)
        assert bench.said() == []
        await bench.clock.advance(2)
        await settle()
        assert bench.said() == ["bad"]


async def test_what_fails_for_long_is_parked_with_its_followers_and_drains_in_order() -> None:
    """A parked lane must leave memory, let the partition pass, and come back in the order of arrival."""
    bench = Bench()
    bench.script.steps["bad"] = failing(15, TemporaryFailure("later"))
    bench.see("bad", "two")
    async with bench.working():
        await bench.clock.advance(bench.settings.retry_seconds + 1)
        bench.see("three")
        await settle()
        assert sorted(key for key in bench.table if key.startswith(parking.PREFIX)) == [
            f"{parking.PREFIX}a/{INPUT}/{offset:020d}" for offset in range(3)
        ]
        assert bench.log.positions[INPUT, 0] == Progress(3)
        assert bench.said() == []
        await bench.clock.advance(300)
        await settle()
        assert bench.said() == ["bad", "two", "three"]
    assert bench.table == {}
    firsts = {context.first_tried for context in bench.script.contexts[:16]}
    assert len(firsts) == 1
    assert [context.attempt for context in bench.script.contexts[:16]] == list(range(16))


async def test_parked_records_move_with_the_state() -> None:
    """After a restart parked records must keep their order, attempts and first time, and wake by themselves."""
    bench = Bench()
    bench.script.steps["bad"] = failing(16, TemporaryFailure("later"))
    bench.see("bad", "two")
    async with bench.working():
        await bench.clock.advance(bench.settings.retry_seconds + 1)
    tried = len(bench.script.contexts)
    bench.see("three")
    async with bench.working():
        await bench.clock.advance(300)
        await settle()
        assert bench.said() == ["bad", "two", "three"]
    again = bench.script.contexts[tried]
    assert again.attempt == tried
    assert again.first_tried == bench.script.contexts[0].first_tried


async def test_parked_lanes_use_no_slot() -> None:
    """With one slot, what waits must not keep others from running."""
    bench = Bench().tune(concurrency=1)
    bench.script.steps["bad"] = failing(100, TemporaryFailure("later"))
    bench.see("bad")
    async with bench.working():
        bench.see("beside", lane="b")
        await settle()
        assert bench.said() == ["beside"]


async def test_a_permanent_failure_is_buried_with_what_ends_it_in_one_unit() -> None:
    """Dead letter, effects of giving up, and progress must be one unit; the raw record must be untouched."""
    bench = Bench()
    bench.script.steps["bad"] = failing(1, PermanentFailure("no such thing"))
    bench.see("bad", "behind")
    async with bench.working():
        await settle()
    (letter,) = letters(bench)
    raw = bench.log.written(INPUT)[0]
    assert (letter.key, letter.value, letter.headers) == (raw.key, raw.value, raw.headers)
    assert (letter.reason, letter.topic, letter.offset, letter.attempts) == ("no such thing", INPUT, 0, 1)
    (unit,) = [unit for unit in bench.log.units if any(each.topic == DEAD for each in unit.outputs)]
    assert unit.progress[INPUT].next_offset >= 1
    assert bench.said() == ["ended bad", "behind"]


async def test_a_defect_is_named_by_its_class_only() -> None:
    """An exception's message may hold secrets, so the dead letter must show only its class."""
    bench = Bench()
    bench.script.steps["bad"] = failing(1, KeyError("secret"))
    bench.see("bad")
    async with bench.working():
        await settle()
    (letter,) = letters(bench)
    assert letter.reason == "defect: KeyError"


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"{}"])
async def test_what_can_not_be_read_is_buried_untouched(raw: bytes) -> None:
    """Arbitrary bytes must end as a dead letter and hold up nobody."""
    bench = Bench()
    bench.log.append(INPUT, raw, headers=("ce_type", "callgate_reason"))
    bench.see("behind")
    async with bench.working():
        await settle()
    (letter,) = letters(bench)
    assert letter.value == raw
    assert letter.headers == (("ce_type", b"x"), ("callgate_reason", b"x"))
    assert bench.said() == ["behind"]
    assert bench.script.calls == ["behind"]


async def test_an_event_on_a_topic_that_does_not_carry_it_is_buried() -> None:
    """A misplaced event must not reach the handler."""
    bench = Bench()
    bench.log.append("actions.finished", seen("forged"))
    async with bench.working(both=True):
        await settle()
    (letter,) = letters(bench)
    assert "does not belong here" in letter.reason
    assert bench.script.calls == []


async def test_effects_that_are_too_large_bury_their_record() -> None:
    """An oversized output must cost its record, not the service."""
    bench = Bench()

    async def large(_: OutcomeObserved, __: Context) -> Effects:
        event = msgspec.structs.replace(seen("x"), description="x" * MAX_RECORD_BYTES)
        return Effects(publish=(Publish(event, said("x").address),))

    bench.script.steps["large"] = large
    bench.see("large", "behind")
    async with bench.working():
        await settle()
    (letter,) = letters(bench)
    assert "over the limit" in letter.reason
    assert bench.said() == ["ended large", "behind"]


async def test_a_handler_may_give_up_a_record_and_still_have_effects() -> None:
    """`dead` in effects must write the dead letter beside the rest."""
    bench = Bench()

    async def partly(_: OutcomeObserved, __: Context) -> Effects:
        return Effects(publish=(said("rest"),), dead=DeadLettered("half of it"))

    bench.script.steps["part"] = partly
    bench.see("part")
    async with bench.working():
        await settle()
    assert [letter.reason for letter in letters(bench)] == ["half of it"]
    assert bench.said() == ["rest"]


async def test_a_record_that_can_not_be_ended_waits_instead_of_dying_alone() -> None:
    """When `on_dead` itself fails the record must be parked: a dead letter alone would leave its action open."""
    bench = Bench()
    bench.script.steps["bad"] = failing(2, PermanentFailure("no"))
    failed = False

    async def dead(name: str, _: Context, __: str) -> Effects:
        nonlocal failed
        if not failed:
            failed = True
            message = "a defect"
            raise RuntimeError(message)
        return Effects(publish=(said(f"ended {name}"),))

    bench.script.dead = dead
    bench.see("bad")
    async with bench.working():
        await settle()
        assert letters(bench) == []
        await bench.clock.advance(60)
        await settle()
    assert [letter.reason for letter in letters(bench)] == ["no"]
    assert bench.said() == ["ended bad"]


async def test_the_brake_stops_the_service_and_loses_nothing() -> None:
    """A run of dead letters must stop the worker before the last of them, and leave the rest on the topic."""
    bench = Bench().tune(brake_run=3)
    names = [f"bad {number}" for number in range(10)]
    for name in names:
        bench.script.steps[name] = failing(100, RuntimeError("a defect"))
    bench.see(*names)
    with pytest.raises(BrakeTripped, match="2 dead letters one after another"):
        async with bench.working():
            await settle()
    assert len(letters(bench)) == 2
    assert bench.log.positions[INPUT, 0] == Progress(2)


@pytest.mark.parametrize("failure", [PermanentFailure("no"), TooLarge("what follows from it fits into no record")])
async def test_junk_at_an_entrance_can_not_pull_the_brake(failure: Exception) -> None:
    """What outsiders write wrongly becomes dead letters, however much of it there is; the service goes on."""
    bench = Bench().tune(brake_run=3)
    names = [f"junk {number}" for number in range(10)]
    for name in names:
        bench.script.steps[name] = failing(100, failure)
    bench.see(*names, "good")
    async with bench.working():
        await settle()
    assert len(letters(bench)) == 10
    assert "good" in bench.said()


async def test_handlers_can_not_write_the_worker_s_own_keys() -> None:
    """A put under the reserved prefix must be refused before anything of it is accepted."""
    bench = Bench()

    async def meddle(_: OutcomeObserved, __: Context) -> Effects:
        return Effects(put={"kind/a": b"1", "~timer/x": b"1"})

    bench.script.steps["bad"] = meddle
    bench.see("bad")
    async with bench.working():
        await settle()
    assert bench.table == {}
    assert len(letters(bench)) == 1


async def test_an_output_to_a_partition_that_does_not_exist_costs_only_its_record() -> None:
    """A wrong address must bury its record: the log would refuse the unit, and the service would never come past it."""
    bench = Bench()

    async def lost(_: OutcomeObserved, __: Context) -> Effects:
        return Effects(publish=(Publish(seen("x"), Address("replies", 7, "k")),))

    bench.script.steps["lost"] = lost
    bench.see("lost", "behind")
    async with bench.working():
        await settle()
    assert [letter.reason for letter in letters(bench)] == ["replies has no partition 7"]
    assert bench.said() == ["ended lost", "behind"]
