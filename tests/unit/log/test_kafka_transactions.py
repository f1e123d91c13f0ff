"""Abandoning a producer whose brokers have fallen silent: whoever waits for its commit hears at once how it stands."""

from __future__ import annotations

import asyncio

import pytest

from callgate.log.kafka.transactions import Transactions, Write
from callgate.log.port import CommitUnknown, LeaseLost
from callgate.settings import KafkaSettings

WRITE = Write("t", 0, None, b"v", (), 0)


async def silence(*_: object, **__: object) -> None:
    """No answer, ever."""
    await asyncio.Event().wait()


async def taken(*_: object, **__: object) -> asyncio.Future[None]:
    """A batch that the brokers have."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


async def begun() -> None:
    """A transaction is begun without asking anybody."""


@pytest.fixture
async def transactions(monkeypatch: pytest.MonkeyPatch) -> Transactions:
    """A producer without brokers, that can begin."""
    made = Transactions({"bootstrap_servers": "127.0.0.1:9"}, KafkaSettings(), "id")
    monkeypatch.setattr(made._producer, "begin_transaction", begun)
    monkeypatch.setattr(made._producer, "abort_transaction", silence)
    return made


@pytest.mark.parametrize(("silent", "end"), [("send_batch", LeaseLost), ("commit_transaction", CommitUnknown)])
async def test_an_abandoned_producer_ends_its_commit_at_once(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch, silent: str, end: type[Exception]
) -> None:
    """Before the commit is sent nothing of it can count; afterwards how it ended is not known."""
    monkeypatch.setattr(transactions._producer, "send_batch", taken)
    monkeypatch.setattr(transactions._producer, silent, silence)
    committing = asyncio.ensure_future(transactions.commit([WRITE]))
    await asyncio.sleep(0.01)
    assert not committing.done()
    await transactions.abandon()
    async with asyncio.timeout(2):  # an abort alone would be given three seconds
        with pytest.raises(end):
            await committing
