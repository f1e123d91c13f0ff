"""`python -m tests.chaos`: runs by seed, one JSON report a line. Exits with 1 if any promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys

import orjson
from tests.chaos.driver import Options, chaos


def main() -> None:
    """Run so many seeds on each engine asked for, one after another."""
    arguments = _arguments()
    # The driver's own client says at every try that the broker is away, which is what we have seen to.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # Whoever ends a run ends its processes too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engines = ("sqlite", "kafka") if arguments.log == "both" else (arguments.log,)
    failed = 0
    for log in engines:
        for seed in range(arguments.seed, arguments.seed + arguments.runs):
            options = Options(
                seed=seed, log=log, actions=arguments.actions, seconds=arguments.seconds, keep=arguments.keep
            )
            report = asyncio.run(chaos(options, lambda text: _write(text, sys.stderr.fileno())))
            failed += not report["passed"]
            _write(orjson.dumps(report).decode(), sys.stdout.fileno())
    runs = arguments.runs * len(engines)
    _write(f"{runs - failed} of {runs} runs passed", sys.stderr.fileno())
    raise SystemExit(1 if failed else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how many seeds")
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    parser.add_argument("--log", choices=("sqlite", "kafka", "both"), default="both")
    parser.add_argument("--actions", type=int, default=2000, help="calls in a run, at least")
    parser.add_argument("--seconds", type=float, default=45.0, help="over which they are submitted")
    parser.add_argument("--keep", action="store_true", help="keep the folders of good runs too")
    return parser.parse_args()


def _write(text: str, to: int) -> None:
    with open(to, "w", encoding="utf-8", closefd=False) as stream:
        stream.write(f"{text}\n")


if __name__ == "__main__":
    main()
