"""`python -m broker start|stop|status|fetch`: the local broker, detached from the terminal."""

from __future__ import annotations

import sys

from broker.jars import NoBroker, jars
from broker.local import Node, detached, end, running

_USAGE = "usage: python -m broker start|stop|status|fetch"


def main(arguments: list[str]) -> int:
    """Do what is asked; the exit code."""
    match arguments:
        case ["start"]:
            node, fresh = detached()
            _say(f"Kafka {'started' if fresh else 'runs already'}: kafka://{node.address}")
            _hint(node)
        case ["stop"]:
            _say("Kafka stopped; its data are kept." if end() else "No local Kafka runs.")
        case ["status"]:
            node_ = running()
            _say(f"Kafka runs: kafka://{node_.address}" if node_ is not None else "No local Kafka runs.")
            return 0 if node_ is not None else 1
        case ["fetch"]:
            jars()  # the first time takes minutes: longer than a test should
        case _:
            print(_USAGE, file=sys.stderr)  # noqa: T201 - a command
            return 2
    return 0


def _hint(node: Node) -> None:
    _say(f"\n  export CALLGATE_LOG=kafka://{node.address}\n  callgate topics apply")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a command


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except NoBroker as fault:
        print(f"Error: no Kafka: {fault}.", file=sys.stderr)  # noqa: T201 - a command
        sys.exit(2)
