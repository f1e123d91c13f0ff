"""A service's process in a chaos run: `callgate` as it is, with a trap that stops it at an exact point.

CHAOS_TRAP is `point:nth`: at the nth passing of that point the process notes it in CHAOS_HOME/traps.jsonl and stops
itself with SIGSTOP. Whoever runs it lets it go on as a zombie later, or kills it there. Product code does not know.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.tools import append

POINTS: dict[str, tuple[tuple[str, str, str], ...]] = {
    # Between the claim's commit and the last look before the tool.
    "claimed": (("callgate.executor.runner", "Runner", "_start"),),
    # Between the last look and the tool's first step: only the claim itself protects from here on.
    "starting": (("callgate.executor.runner", "Runner", "_run"),),
    # Inside the claim of a lease, before it is fenced.
    "claiming": (
        ("callgate.log.sqlite.store", "Store", "claim"),
        ("callgate.log.kafka.transactions", "Transactions", "start"),
    ),
    # Inside the claim of a lease, after it is fenced and before anybody works it.
    "restored": (
        ("callgate.log.sqlite.lease", "SqliteLease", "__init__"),
        ("callgate.log.kafka.lease", "KafkaLease", "__init__"),
    ),
    # Effects are there and nothing of them is committed.
    "committing": (
        ("callgate.log.sqlite.lease", "SqliteLease", "commit"),
        ("callgate.log.kafka.lease", "KafkaLease", "commit"),
    ),
}
"""Point → module, class and method before which the process stops, per engine."""


def traps_file(home: Path) -> Path:
    """Where processes say that they have stopped themselves."""
    return home / "traps.jsonl"


def main() -> None:
    """Set the trap, and be `callgate`."""
    trap = os.environ.get("CHAOS_TRAP")
    if trap:
        point, _, nth = trap.partition(":")
        _set(point, int(nth))
    from callgate.cli.main import main as callgate  # noqa: PLC0415 - after the trap is set

    callgate()


def _set(point: str, nth: int) -> None:
    passed = itertools.count(1)
    engine = "kafka" if os.environ["CALLGATE_LOG"].startswith("kafka:") else "sqlite"
    quiet = _between_transactions() if engine == "sqlite" else threading.RLock()

    def spring() -> None:
        if next(passed) == nth:
            home = Path(os.environ["CHAOS_HOME"])
            append(traps_file(home), {"point": point, "pid": os.getpid(), "at": time.time()})
            with quiet:
                # To this very thread: one sent to the process lets it run on until some thread has taken it.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    for module, owner, name in POINTS[point]:
        if f".log.{engine}." not in module and ".log." in module:
            continue
        found = __import__(module, fromlist=[owner])
        kind = getattr(found, owner)
        setattr(kind, name, _trapped(getattr(kind, name), spring))


def _between_transactions() -> threading.RLock:
    """A lock under which no transaction is open: stopped within one, a process would keep all others from the file."""
    from callgate.log.sqlite.connection import Connection  # noqa: PLC0415 - only where it is the engine

    lock = threading.RLock()
    transaction = Connection.transaction

    @contextmanager
    def alone(*given: Any, **named: Any) -> Iterator[Any]:
        with lock, transaction(*given, **named) as found:
            yield found

    Connection.transaction = alone  # type: ignore[method-assign] # a seam of the test's own
    return lock


def _trapped(method: Callable[..., Any], spring: Callable[[], None]) -> Callable[..., Any]:
    # A coroutine's body begins when it is awaited, which is at once in every one of these: before the call will do.
    @functools.wraps(method)
    def trapped(*given: Any, **named: Any) -> Any:
        spring()
        return method(*given, **named)

    return trapped


if __name__ == "__main__":
    main()
