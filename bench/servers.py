"""What stands beside the processes under test: the broker, and stand-ins for BIGHUB. Their CPU is counted apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.local import Node, free_ports, kill

ROOT = Path(__file__).resolve().parents[1]

_TICKS = os.sysconf("SC_CLK_TCK")

_COMMAND = 2
"""Fields of /proc/<pid>/stat up to the command, which may hold blanks: what follows is counted from its bracket."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that a subject talks to."""

    address: str
    pid: int

    def cpu(self) -> float:
        """Seconds that all of its threads have used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        user, system = (int(fields[number - _COMMAND - 1]) for number in (14, 15))
        return (user + system) / _TICKS


@contextmanager
def stub(delay: float) -> Iterator[Server]:
    """A BIGHUB that answers after so many seconds."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "bench.stub", str(delay)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().strip(), process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def broker(folder: Path) -> Iterator[Server]:
    """A broker that nobody else uses."""
    port, controller_port = free_ports(2)
    node = Node(folder / "broker", 1, port, controller_port)
    process = node.start(tied=True)
    try:
        yield Server(node.address, process.pid)
    finally:
        kill(process.pid)
        process.wait()
