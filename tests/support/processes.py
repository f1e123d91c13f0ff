"""The program under test as real processes: started, watched, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CALLGATE = str(Path(sys.executable).with_name("callgate"))


def environment(**settings: str) -> dict[str, str]:
    """An environment without any setting but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLGATE_")}
    if "CALLGATE_CORPORA" in os.environ:
        kept["CALLGATE_CORPORA"] = os.environ["CALLGATE_CORPORA"]
    return kept | settings


@contextmanager
def running(
    *arguments: str, env: Mapping[str, str] | None = None, log: Path | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`callgate` with these arguments; killed at the end if it still runs. Its output goes to `log`."""
    target = (log or Path(os.devnull)).open("ab")
    process = subprocess.Popen(
        [CALLGATE, *arguments],
        env=dict(env or environment()),
        stdout=target,
        stderr=target,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        target.close()


def finish(
    *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """`callgate` with these arguments, run to its end."""
    return subprocess.run(
        [CALLGATE, *arguments],
        env=dict(env or environment()),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL: nothing of the process runs any more."""
    process.send_signal(signal.SIGKILL)
    process.wait(30)


def wait_for_lines(path: Path, least: int, seconds: float) -> int:
    """Wait until a file that a process writes has so many lines; returns how many it has when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        count = path.read_bytes().count(b"\n") if path.exists() else 0
        if count >= least or time.monotonic() > deadline:
            return count
        time.sleep(0.02)
