"""A machine whose clock is wrong, on a real broker: nothing is written under a false date, and the reason is said."""

from __future__ import annotations

import pytest
from tests.support.log_engines import GROUP, IN, OUT, Engine, publish, sent, values

from callgate.clock import SystemClock
from callgate.log.port import Group, LogUnavailable

CLOCK = "this machine's clock is far ahead of the brokers'"


class Ahead(SystemClock):
    """Two hours ahead."""

    def now(self) -> float:
        """See `Clock.now`."""
        return super().now() + 7200


async def looking(group: Group) -> None:
    """Ask for a lease until the group has a reason why there is none."""
    for _ in range(20):
        assert await group.claim(0.5) is None


async def test_what_is_dated_ahead_of_the_brokers_is_not_written_and_the_reason_is_said(engine: Engine) -> None:
    """They refuse it before they write: whoever publishes knows that it is not there, and no lease can be claimed."""
    engine.clock = Ahead()
    log = await engine.open()
    for partitions in ((0, 0), (0, 1)):  # a batch, and a transaction
        with pytest.raises(LogUnavailable, match=CLOCK):
            await log.publish([sent(b"x", partition, OUT) for partition in partitions])
    assert await values(log, OUT) == []
    joined = await log.join(GROUP, (IN,))
    with pytest.raises(LogUnavailable, match=CLOCK):
        await looking(joined)
    await publish(log, [b"in"])
    assert await values(log, IN) == [b"in"], "entrances are dated by the brokers"
