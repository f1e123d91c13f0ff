"""Lanes: one piece of work at a time for each key, in order; and a fair pick among those that could run.

A plain structure without a clock or tasks: the worker asks it what to run next. What is held (waiting for a retry) uses
no slot. Each claim of a lease has lanes of its own, which can be forgotten at once.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from enum import Enum

import msgspec

from callgate.worker.work import Work

LaneKey = tuple[int, str]
"""A claim and the name of a lane in it."""


class _State(Enum):
    READY = 1
    RUNNING = 2
    HELD = 3


class _Lane(msgspec.Struct, eq=False):
    key: LaneKey
    state: _State = _State.HELD
    queue: list[Work] = []  # most lanes are one record long, for which a deque takes eight times the memory
    slot: str | None = None  # the tenant whose slot it uses while it runs


class Lanes:
    """All lanes of a worker, with its limit and the shares of it.

    The pick goes to the tenant that uses the least of its weight; one that is at `tenant_share` of the slots comes
    after all that are not. Slots never stay empty while anything could run.
    """

    def __init__(self, slots: int, tenant_share: float, weights: Mapping[str, float]) -> None:
        self._slots = slots
        self._most = max(1.0, slots * tenant_share)
        self._weights = weights
        self._claims: dict[int, dict[str, _Lane]] = {}
        self._closed: set[int] = set()
        self._ready: dict[str, OrderedDict[_Lane, None]] = {}  # by tenant; any of them may be withdrawn
        self._used: Counter[str] = Counter()
        self._running = 0
        self._served: dict[str, int] = {}
        self._picks = 0

    @property
    def running(self) -> int:
        """Slots in use."""
        return self._running

    @property
    def waiting(self) -> bool:
        """Whether anything could run if there were a slot."""
        return bool(self._ready)

    def add(self, claim: int, work: Work) -> None:
        """Queue work behind the rest of its lane."""
        lanes = self._claims.setdefault(claim, {})
        lane = lanes.get(work.lane)
        if lane is None:
            lane = lanes[work.lane] = _Lane((claim, work.lane))
        lane.queue.append(work)
        if len(lane.queue) == 1:
            self._make_ready(lane)

    def pick(self) -> tuple[int, Work] | None:
        """The next work to run, and its claim; None while there is no slot or nothing to run."""
        if self.running >= self._slots or not self._ready:
            return None
        tenant = min(self._ready, key=self._rank)
        queue = self._ready[tenant]
        lane, _ = queue.popitem(last=False)
        if not queue:
            del self._ready[tenant]
        self._picks += 1
        self._served[tenant] = self._picks
        self._used[tenant] += 1
        self._running += 1
        lane.state, lane.slot = _State.RUNNING, tenant
        return lane.key[0], lane.queue[0]

    def finish(self, key: LaneKey) -> bool:
        """The head of the lane is done. Tells whether the lane is empty now; False for a lane that is forgotten."""
        lane = self._find(key)
        if lane is None:
            return False
        self._free(lane)
        del lane.queue[0]
        if lane.queue:
            self._make_ready(lane)
            return False
        del self._claims[key[0]][key[1]]
        return True

    def hold(self, key: LaneKey) -> None:
        """The head of the lane must wait: it keeps its place and gives up its slot.

        The lane stays out of every pick until `resume`, so its followers wait too.
        """
        lane = self._find(key)
        if lane is not None:
            self._free(lane)
            lane.state = _State.HELD

    def resume(self, key: LaneKey) -> None:
        """The head of a held lane may run again."""
        lane = self._find(key)
        if lane is not None and lane.state is _State.HELD:
            self._make_ready(lane)

    def clear(self, key: LaneKey) -> list[Work]:
        """Take everything out of a lane, its head included."""
        lane = self._find(key)
        if lane is None:
            return []
        self._free(lane)
        self._withdraw(lane)
        del self._claims[key[0]][key[1]]
        return list(lane.queue)

    def idle(self, claim: int, tenant: str) -> Iterator[list[Work]]:
        """The contents of a tenant's lanes whose head waits for its first run; the youngest lanes first."""
        lanes = [lane for lane in self._claims.get(claim, {}).values() if lane.state is _State.READY]
        for lane in sorted(lanes, key=lambda lane: lane.queue[0].ticket, reverse=True):
            if lane.queue[0].tenant == tenant and lane.queue[0].attempt == 0:
                yield list(lane.queue)

    def close(self, claim: int) -> None:
        """Pick nothing more of a claim; what runs goes on, and ends as usual.

        What is added or becomes ready afterwards is kept, and never picked.
        """
        self._closed.add(claim)
        for lane in list(self._claims.get(claim, {}).values()):
            self._withdraw(lane)

    def drop(self, claim: int) -> None:
        """Forget a claim; its slots are free at once. Later calls for its lanes do nothing."""
        self.close(claim)
        for lane in self._claims.pop(claim, {}).values():
            self._free(lane)
        self._closed.discard(claim)

    def _rank(self, tenant: str) -> tuple[bool, float, int]:
        used, weight = self._used[tenant], self._weights.get(tenant, 1.0)
        return used >= self._most, used / weight, self._served.get(tenant, 0)

    def _find(self, key: LaneKey) -> _Lane | None:
        return self._claims.get(key[0], {}).get(key[1])

    def _make_ready(self, lane: _Lane) -> None:
        if lane.key[0] in self._closed:
            lane.state = _State.HELD
            return
        lane.state = _State.READY
        tenant = lane.queue[0].tenant
        if (queue := self._ready.get(tenant)) is None:
            queue = self._ready[tenant] = OrderedDict()
        queue[lane] = None

    def _withdraw(self, lane: _Lane) -> None:
        if lane.state is not _State.READY:
            return
        tenant = lane.queue[0].tenant
        del self._ready[tenant][lane]
        if not self._ready[tenant]:
            del self._ready[tenant]
        lane.state = _State.HELD

    def _free(self, lane: _Lane) -> None:
        if lane.slot is None:
            return
        self._running -= 1
        self._used[lane.slot] -= 1
        if self._used[lane.slot] <= 0:
            del self._used[lane.slot]
            self._forget_served()
        lane.slot = None

    def _forget_served(self) -> None:
        # Tenants come and go for ever; who was served longest ago matters only among those that are here.
        if len(self._served) > 4 * self._slots + len(self._ready):
            self._served = {name: at for name, at in self._served.items() if name in self._ready or name in self._used}
