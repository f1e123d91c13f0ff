"""The lanes under any sequence of arrivals, picks and ends."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from callgate.worker.lanes import Lanes
from callgate.worker.work import Work

SLOTS = 3


class LanesMachine(RuleBasedStateMachine):
    """A model beside the lanes: per lane what has arrived, and what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(SLOTS, 0.5, {})
        self.queues: dict[str, list[Work]] = {}
        self.running: dict[str, Work] = {}
        self.held: set[str] = set()
        self.count = 0

    @rule(lane=st.sampled_from("abcde"), tenant=st.sampled_from("xy"))
    def arrive(self, lane: str, tenant: str) -> None:
        """Work comes."""
        work = Work(lane=lane, tenant=tenant, ticket=self.count)
        self.count += 1
        self.queues.setdefault(lane, []).append(work)
        self.lanes.add(1, work)

    @rule()
    def pick(self) -> None:
        """A pick must give the head of a lane that neither runs nor waits, or nothing if there is none or no slot."""
        free = [
            lane for lane, queue in self.queues.items() if queue and lane not in self.running | dict.fromkeys(self.held)
        ]
        picked = self.lanes.pick()
        if len(self.running) == SLOTS or not free:
            assert picked is None
            return
        assert picked is not None
        work = picked[1]
        assert work.lane in free
        assert self.queues[work.lane][0] is work
        self.running[work.lane] = work

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Work ends; its lane goes on."""
        lane = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[lane]
        self.queues[lane].pop(0)
        assert self.lanes.finish((1, lane)) is (not self.queues[lane])

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        """Work fails for now."""
        lane = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[lane]
        self.held.add(lane)
        self.lanes.hold((1, lane))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """Its time has come again."""
        lane = data.draw(st.sampled_from(sorted(self.held)))
        self.held.remove(lane)
        self.lanes.resume((1, lane))

    @rule(lane=st.sampled_from("abcde"))
    def clear(self, lane: str) -> None:
        """A lane is parked: all of it must come out, in order."""
        assert self.lanes.clear((1, lane)) == self.queues.pop(lane, [])
        self.running.pop(lane, None)
        self.held.discard(lane)

    @invariant()
    def slots_are_counted(self) -> None:
        """As many slots are used as work runs, and never more than there are."""
        assert self.lanes.running == len(self.running) <= SLOTS


LanesMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLanes = LanesMachine.TestCase
