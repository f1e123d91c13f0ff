"""Several processes on one file: they publish, read and share leases; who dies or stops is taken over and fenced."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.support.log_engines import GROUP, IN, OUT, all_leases, values

from callgate.clock import SystemClock
from callgate.failures import BadInput
from callgate.log.address import open_log
from callgate.log.port import Lease, Log, Unit

SCRIPT = Path(__file__).resolve().parents[1] / "support" / "log_process.py"


@asynccontextmanager
async def process(address: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process on the same file, gone at the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), address, *words, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def line(of: asyncio.subprocess.Process) -> str:
    """What it says next."""
    assert of.stdout is not None
    async with asyncio.timeout(30):
        return (await of.stdout.readline()).decode().strip()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    """A log in a file, open in this process."""
    opened = await open_log(f"sqlite:///{tmp_path}/log.db", clock=SystemClock())
    yield opened
    await opened.close()


async def test_processes_publish_at_the_same_time(log: Log, tmp_path: Path) -> None:
    """Records of several processes are all there once, each process' own in its order, and a reader here is woken."""
    address = f"sqlite:///{tmp_path}/log.db"
    async with process(address, "publish", "a", "150") as one, process(address, "publish", "b", "150") as two:
        followed: dict[int, bytes | None] = {}
        async with asyncio.timeout(30):
            async for record in log.follow(IN, [0], {}):
                followed[record.offset] = record.value
                if len(followed) == 300:
                    break
        assert (await line(one), await line(two)) == ("published", "published")
    read = [(value or b"").decode().split(":") for value in await values(log, IN)]
    assert list(followed.values()) == await values(log, IN)
    for writer in "ab":
        assert [int(number) for who, number in read if who == writer] == list(range(150))


async def test_processes_that_make_the_file_together_agree(tmp_path: Path) -> None:
    """A file that two processes make at the same moment is one log."""
    address = f"sqlite:///{tmp_path}/new.db"
    async with process(address, "publish", "a", "3") as one, process(address, "publish", "b", "3") as two:
        assert (await line(one), await line(two)) == ("published", "published")
    log = await open_log(address, clock=SystemClock(), partitions=9)
    assert log.partitions == 4
    assert len(await values(log, IN)) == 6
    await log.close()


async def test_a_killed_process_is_taken_over_within_five_seconds(log: Log, tmp_path: Path) -> None:
    """After SIGKILL, what the process held is claimed here in less than 5 s, and nothing of it is missing."""
    async with process(f"sqlite:///{tmp_path}/log.db", "hold") as other:
        for _ in range(4):
            assert (await line(other)).startswith("holds")
        group = await log.join(GROUP, [IN])
        shared = await all_leases(group, 2, seconds=5)
        other.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        taken = await all_leases(group, 2, seconds=8)
        assert time.monotonic() - killed < 5.0
    assert sorted(lease.number for lease in shared + taken) == [0, 1, 2, 3]
    for lease in shared + taken:
        await lease.commit(Unit())
        # Each holder wrote its epoch: all units are in the order of the epochs.
        epochs = [int(value or b"") for value in await values(log, OUT, lease.number)]
        assert epochs == sorted(epochs)
        assert len(epochs) > 0


async def test_a_stopped_process_finds_itself_fenced(log: Log, tmp_path: Path) -> None:
    """A process that stood still for too long has lost its leases, learns it, and wrote nothing after that."""
    async with process(f"sqlite:///{tmp_path}/log.db", "hold") as other:
        held = [(await line(other)).split() for _ in range(4)]
        other.send_signal(signal.SIGUSR1)
        group = await log.join(GROUP, [IN])
        taken: list[Lease] = await all_leases(group, 4, seconds=8)
        before = {lease.number: await values(log, OUT, lease.number) for lease in taken}
        for lease in taken:
            await lease.commit(Unit())
        other.send_signal(signal.SIGCONT)
        lost = [(await line(other)).split() for _ in range(4)]
        assert sorted(words[1:3] for words in lost) == sorted(words[1:3] for words in held)
        assert {words[0] for words in lost} == {"lost"}
        assert {words[3] for words in lost} == {"False"}
        for lease in taken:
            old = [value for value in await values(log, OUT, lease.number) if int(value or b"") < lease.epoch]
            assert old == before[lease.number]


async def test_a_disk_that_is_full_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """A file that may not grow ends in an error that names it; all that was acknowledged is there, and it goes on."""
    address = f"sqlite:///{tmp_path}/log.db"
    acknowledged = 0
    async with process(address, "fill", "2000000") as other:
        while (said := await line(other)).startswith("published"):
            acknowledged += 1
    assert said.startswith(("failed LogUnavailable", "failed CommitUnknown"))
    assert "log.db" in said
    log = await open_log(address, clock=SystemClock())
    read = [int((value or b"").split(b":")[0]) for value in await values(log, IN)]
    assert read[:acknowledged] == list(range(acknowledged))
    assert len(read) <= acknowledged + 1
    assert acknowledged > 10
    async with process(address, "publish", "more", "2") as other:
        assert await line(other) == "published"
    assert len(await values(log, IN)) == len(read) + 2
    await log.close()


async def test_a_file_that_is_no_log_is_refused_by_name(tmp_path: Path) -> None:
    """Opening somebody else's file, or what is no database, changes nothing in it and says what to do."""
    other = tmp_path / "letters.db"
    other.write_bytes(b"Dear Sir or Madam, " * 100)
    with pytest.raises(BadInput, match=r"letters\.db"):
        await open_log(f"sqlite:///{other}", clock=SystemClock())
    assert other.read_bytes() == b"Dear Sir or Madam, " * 100


_OPEN_MANY = """
import sys
from callgate.log.sqlite.schema import connect
for number in range(40):
    connect(f"{sys.argv[1]}/{number}.db", 4)[0].close()
"""


def test_processes_that_make_one_file_at_once_all_get_it(tmp_path: Path) -> None:
    """A file that is being made by another process is never taken for somebody else's database."""
    makers = [
        subprocess.Popen([sys.executable, "-c", _OPEN_MANY, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(5)
    ]
    complaints = [maker.communicate(timeout=60)[1].decode() for maker in makers]
    assert complaints == [""] * len(makers)
