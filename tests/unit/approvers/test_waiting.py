"""Votes that wait for keys: a bounded number, each of them once, and none for ever."""

from __future__ import annotations

from tests.support.signing_values import at_entrance

from callgate.approvers.waiting import FORGOTTEN_SECONDS, MOST, WaitingRoom
from callgate.clock import ManualClock


async def test_who_waits_may_go_on_waiting() -> None:
    """A vote that is tried again keeps its place, also where no other gets one."""
    room = WaitingRoom(ManualClock())
    assert all(room.wait(at_entrance(number)) for number in range(MOST))
    assert room.wait(at_entrance(0))
    assert not room.wait(at_entrance(MOST))


async def test_a_place_becomes_free() -> None:
    """When a vote has its verdict another may wait."""
    room = WaitingRoom(ManualClock())
    for number in range(MOST):
        room.wait(at_entrance(number))
    room.done(at_entrance(7))
    room.done(at_entrance(7))
    assert room.wait(at_entrance(MOST))
    assert not room.wait(at_entrance(MOST + 1))


async def test_whoever_was_not_seen_again_is_forgotten() -> None:
    """Votes of a lease that has passed on do not hold places for ever; those that are tried again do."""
    clock = ManualClock()
    room = WaitingRoom(clock)
    for number in range(MOST):
        room.wait(at_entrance(number))
    await clock.advance(FORGOTTEN_SECONDS / 2)
    assert room.wait(at_entrance(0))
    await clock.advance(FORGOTTEN_SECONDS / 2)
    assert [room.wait(at_entrance(MOST + number)) for number in range(MOST)] == [True] * (MOST - 1) + [False]
