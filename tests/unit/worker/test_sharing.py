"""One tenant must not starve another: neither of slots nor of the window."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.worker_bench import Bench, echo, settle

from callgate.events import codec
from callgate.events.codec import Envelope, Headers
from callgate.events.outcomes import OutcomeObserved
from callgate.settings import WorkerSettings
from callgate.worker.brake import Brake
from callgate.worker.effects import Context, Effects
from callgate.worker.lanes import Lanes
from callgate.worker.work import Work


def work(name: str, tenant: str, ticket: int = 0) -> Work:
    """Work in a lane of its own."""
    return Work(lane=name, tenant=tenant, ticket=ticket)


def flooded(bench: Bench, release: asyncio.Event) -> list[str]:
    """The names of thirty records of one tenant that are there, each in its lane, and none done before `release`."""

    async def stuck(event: OutcomeObserved, context: Context) -> Effects:
        await release.wait()
        return await echo(event, context)

    flood = [f"flood {number:02}" for number in range(30)]
    for name in flood:
        bench.script.steps[name] = stuck
        bench.see(name, lane=name, tenant="flood")
    return flood


def test_a_newcomer_gets_the_next_slot_that_is_free() -> None:
    """With one tenant's flood waiting, the other tenant's first record must be picked next."""
    lanes = Lanes(4, 0.5, {})
    for number in range(100):
        lanes.add(1, work(f"flood {number}", "flood"))
    for _ in range(4):
        lanes.pick()
    lanes.add(1, work("small", "small"))
    assert lanes.pick() is None
    lanes.finish((1, "flood 0"))
    picked = lanes.pick()
    assert picked is not None
    assert picked[1].tenant == "small"


def test_slots_are_shared_by_weight() -> None:
    """A tenant of weight 3 must get three slots for each one of a tenant of weight 1."""
    lanes = Lanes(8, 1.0, {"heavy": 3.0})
    for number in range(20):
        lanes.add(1, work(f"heavy {number}", "heavy"))
        lanes.add(1, work(f"light {number}", "light"))
    picked = [lanes.pick() for _ in range(8)]
    assert [each[1].tenant for each in picked if each].count("heavy") == 6


def test_no_slot_stays_empty_while_anything_waits() -> None:
    """A tenant that is alone may use every slot."""
    lanes = Lanes(4, 0.5, {})
    for number in range(9):
        lanes.add(1, work(str(number), "alone"))
    assert [lanes.pick() is not None for _ in range(5)] == [True] * 4 + [False]


def test_a_dropped_claim_gives_its_slots_back_and_late_ends_do_nothing() -> None:
    """After a lost lease its slots must be free, and what its handlers still say must change nothing."""
    lanes = Lanes(1, 1.0, {})
    lanes.add(1, work("a", "t"))
    lanes.add(1, work("a", "t"))
    assert lanes.pick() is not None
    lanes.drop(1)
    assert lanes.running == 0
    lanes.add(2, work("a", "t"))
    assert lanes.pick() is not None
    lanes.finish((1, "a"))
    lanes.hold((1, "a"))
    assert lanes.running == 1


async def test_a_flood_that_fills_the_window_does_not_hide_another_tenant() -> None:
    """Records of a tenant over its share must be parked, so that another's behind them are served; none is lost."""
    bench = Bench().tune(window=8, concurrency=2, tenant_share=0.5)
    release = asyncio.Event()
    flood = flooded(bench, release)
    bench.see("small", lane="small", tenant="small")
    async with bench.working():
        for _ in range(20):
            await bench.clock.advance(0.5)
            await settle()
        assert "small" not in bench.said()  # both slots are taken by the flood's first two
        assert any(key.startswith("~park/") for key in bench.table)
        release.set()
        for _ in range(60):
            await bench.clock.advance(1)
            await settle()
        said = bench.said()
        assert said.index("small") < 6
        assert sorted(said) == sorted([*flood, "small"])
    assert bench.table == {}


async def test_a_parked_record_is_not_read_while_its_tenant_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record of a flood must be read once when it comes, and not again each time that its lane is looked at."""
    bench = Bench().tune(window=8, concurrency=2, tenant_share=0.5)
    release, reads = asyncio.Event(), 0
    decode = codec.decode

    def counted(value: bytes | None, headers: Headers) -> Envelope:
        nonlocal reads
        reads += 1
        return decode(value, headers)

    flood = flooded(bench, release)
    monkeypatch.setattr(codec, "decode", counted)
    async with bench.working():
        for _ in range(40):
            await bench.clock.advance(0.5)
            await settle()
        assert any(key.startswith("~park/") for key in bench.table)
        assert reads == len(flood)
        release.set()
        for _ in range(60):
            await bench.clock.advance(1)
            await settle()
        assert sorted(bench.said()) == flood


def test_the_brake_counts_a_ratio_only_over_a_full_window() -> None:
    """Few records must never trip the ratio; a full window beyond it must."""
    brake = Brake(WorkerSettings(brake_run=1000, brake_window=100, brake_ratio=0.05))
    for _ in range(5):
        assert brake.refusal() is None
        brake.buried(1)
    for _ in range(94):
        brake.passed(1)
    assert brake.refusal() is not None
    for _ in range(6):
        brake.passed(1)
    assert brake.refusal() is None


def test_the_brake_s_run_is_broken_by_any_success() -> None:
    """Dead letters one after another trip it; one success begins the count anew."""
    brake = Brake(WorkerSettings(brake_run=3, brake_window=1000))
    brake.buried(1)
    brake.passed(1)
    brake.buried(1)
    assert brake.refusal() is None
    brake.buried(1)
    assert brake.refusal() is not None


def test_the_brake_forgets_what_a_lost_claim_has_given_up() -> None:
    """What was counted under a lease that was lost must not count; what other claims gave up must."""
    brake = Brake(WorkerSettings(brake_run=4, brake_window=1000))
    for claim in (1, 2, 2):
        brake.buried(claim)
    assert brake.refusal() is not None
    brake.forget(2)
    assert brake.refusal() is None
    for _ in range(2):
        brake.buried(3)
    assert brake.refusal() is not None
