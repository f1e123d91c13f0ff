"""The processes of a run: started, stopped, let go on, killed and started again, each by its id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_GAVE_UP = "callgate: "
"""How a service begins to say why it ends. One that meets no broker at its start leaves that to whoever starts it."""
_JOINED = '"event": "joined"'
"""What a service says once it has begun: from then on nothing may end it."""


@dataclass(slots=True)
class Member:
    """One place in the fleet, and the process that fills it now."""

    name: str
    arguments: tuple[str, ...]
    output: Path
    process: subprocess.Popen[bytes] | None = None
    began: int = 0
    """How much output earlier processes have left."""
    stopped: bool = False
    """Whether we have sent it SIGSTOP, or it has stopped itself."""
    leaving: bool = False
    """Whether it was told to end, so that its end is no surprise."""

    @property
    def service(self) -> str:
        """What runs in it."""
        return self.name.partition("-")[0]

    @property
    def running(self) -> bool:
        """Whether it is there and not stopped."""
        return self.alive and not self.stopped

    @property
    def alive(self) -> bool:
        """Whether there is a process, running or stopped."""
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True)
class Fleet:
    """All members, and what was done to them."""

    home: Path
    env: Mapping[str, str]
    members: dict[str, Member] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    """How often each thing was done, by `what service`."""
    surprises: list[str] = field(default_factory=list)
    """Processes that have ended by themselves."""

    def add(self, name: str, *arguments: str) -> Member:
        """A new place; nothing is started yet."""
        member = self.members[name] = Member(name, arguments, self.home / f"{name}.out")
        return member

    def start(self, member: Member, trap: str | None = None) -> None:
        """Start its process; `trap` as `child` takes it."""
        # A checkout runs its own code, whichever one is installed.
        env = {**self.env, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "services")))}
        if trap is not None:
            env["CHAOS_TRAP"] = trap
        with member.output.open("ab") as target:
            member.began = target.tell()
            member.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.child", *member.arguments],
                cwd=ROOT, env=env, stdout=target, stderr=target, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        member.stopped = member.leaving = False
        self.done[f"start {member.service}"] += 1

    def kill(self, member: Member) -> None:
        """SIGKILL, and wait for its end."""
        if member.process is not None:
            member.process.kill()
            member.process.wait(30)
            member.stopped, member.leaving = False, True
            self.done[f"kill {member.service}"] += 1

    def stop(self, member: Member) -> None:
        """SIGSTOP: it stands still and knows nothing of it."""
        self._send(member, signal.SIGSTOP)
        member.stopped = True
        self.done[f"stop {member.service}"] += 1

    def go_on(self, member: Member) -> None:
        """SIGCONT: a zombie, where it was stopped for long."""
        self._send(member, signal.SIGCONT)
        member.stopped = False

    def leave(self, member: Member) -> None:
        """SIGTERM: it drains, and ends by itself."""
        member.leaving = True
        self._send(member, signal.SIGTERM)
        self.done[f"leave {member.service}"] += 1

    def look(self) -> None:
        """Note whoever has ended without being told to."""
        for member in self.members.values():
            ended = member.process is not None and member.process.poll() is not None
            if not ended or member.leaving:
                continue
            assert member.process is not None
            member.leaving = True
            text = member.output.read_bytes()[member.began :].decode(errors="replace").strip()
            said = text.rpartition("\n")[2]
            if said.startswith(_GAVE_UP) and _JOINED not in text:
                self.done[f"give up starting {member.service}"] += 1
            else:
                self.surprises.append(f"{member.name} ended by itself with {member.process.returncode}: {said}")

    def trapped(self, pid: int) -> Member | None:
        """The member that has stopped itself under this process id, if it is still there."""
        for member in self.members.values():
            if member.process is not None and member.process.pid == pid and member.alive:
                member.stopped = True
                return member
        return None

    def end(self) -> None:
        """Kill whatever is left."""
        for member in self.members.values():
            if member.process is not None and member.process.poll() is None:
                member.process.kill()
                member.process.wait(30)

    @staticmethod
    def _send(member: Member, number: int) -> None:
        if member.process is not None and member.process.poll() is None:
            os.kill(member.process.pid, number)
