"""The tools of a play: each returns what was recorded, and leaves one line at the witness as its effect.

A play writes a manifest beside the log (`<log>.plays/<id>.json`), so that an executor in another process knows the
recordings too: `callgate run executor --tools callgate.cli.play.recorded:toolbox`. On Kafka, where there is no file,
they lie in the working directory, which these processes then share.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import orjson

from callgate.cli.play import corpora
from callgate.events import ids
from callgate.events.home import home
from callgate.failures import BadInput
from callgate.log.address import PARTITIONS, bootstrap_of, file_of
from callgate.tools.toolbox import Arguments, Call, Tool, Toolbox

TENANT = "play"
"""The tenant that every played turn belongs to."""

TIMEOUT_SECONDS = 5.0
"""Played tools answer at once; this bounds how long a killed play waits before it may say `in doubt`."""


class Recordings:
    """What each action of the plays on one log returned when it was recorded."""

    def __init__(self, beside: Path) -> None:
        """`beside` is the log's file; manifests are looked for next to it."""
        self._folder = plays_folder(beside)
        self._witness = witness_file(beside)
        self._outputs: dict[str, bytes] = {}
        self._read: set[Path] = set()
        # Tools run in threads: none may look while another is still reading a manifest.
        self._reading = threading.Lock()

    def output(self, action_id: str) -> bytes:
        """The recorded output as JSON. Manifests that came since are read when an action is not known."""
        with self._reading:
            if action_id not in self._outputs:
                for manifest in sorted(self._folder.glob("*.json")):
                    if manifest not in self._read:
                        self._load(manifest)
        return self._outputs.get(action_id, corpora.NOTHING_RECORDED)

    def testify(self, action_id: str) -> None:
        """One whole line, appended in one write: concurrent processes never mix theirs."""
        line = orjson.dumps({"action_id": action_id, "pid": os.getpid()}) + b"\n"
        handle = os.open(self._witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)

    def _load(self, manifest: Path) -> None:
        entry = orjson.loads(manifest.read_bytes())
        self._read.add(manifest)
        for name in entry["files"]:
            for turn in corpora.read(Path(name)):
                key = key_of(turn, entry["id"], entry.get("partitions", PARTITIONS))
                for position, call in enumerate(turn.calls):
                    self._outputs[action_of(key, position, call)] = call.output


def key_of(turn: corpora.RecordedTurn, play: str, partitions: int) -> str:
    """The turn key that the gate gives to a played turn."""
    session = turn.session(play)
    return ids.turn_key(home(TENANT, session, partitions), TENANT, session, turn.turn)


def action_of(turn_key: str, position: int, call: corpora.RecordedCall) -> str:
    """The action id that the gate gives to a played call."""
    return ids.action_id(turn_key, 0, position, call.call_id or f"call_{position}")


def plays_folder(beside: Path) -> Path:
    """Where the manifests of a log's plays lie."""
    return beside.with_name(f"{beside.name}.plays")


def witness_file(beside: Path) -> Path:
    """Where the tools of demo and play leave their effects."""
    return beside.with_name(f"{beside.name}.effects.jsonl")


def write_manifest(beside: Path, play: str, files: list[Path], partitions: int) -> None:
    """Make a play's recordings known to executors, before the first turn is submitted."""
    folder = plays_folder(beside)
    folder.mkdir(exist_ok=True)
    target = folder / f"{ids.fingerprint(play)}.json"
    draft = target.with_suffix(f".{os.getpid()}.draft")
    entry = {"id": play, "files": [str(path.resolve()) for path in files], "partitions": partitions}
    draft.write_bytes(orjson.dumps(entry))
    draft.replace(target)


def recorded_toolbox(recordings: Recordings) -> Toolbox:
    """A toolbox that knows every tool name: open object schema, `unsafe`, the recorded output as the result."""

    def resolve(name: str) -> Tool:
        def run(call: Call, _: Arguments) -> Any:
            recordings.testify(call.action_id)
            return orjson.loads(recordings.output(call.action_id))

        return Tool(name=name, function=run, takes_object=True, timeout_seconds=TIMEOUT_SECONDS)

    return Toolbox(default=resolve)


def toolbox() -> Toolbox:
    """The played tools for `--tools callgate.cli.play.recorded:toolbox`, for the log that CALLGATE_LOG names."""
    address = os.environ.get("CALLGATE_LOG", "sqlite:///callgate.db")
    return recorded_toolbox(Recordings(beside_of(address, os.environ.get("CALLGATE_TOPIC_PREFIX", ""))))


def beside_of(address: str, prefix: str) -> Path:
    """What witness, manifests and the local BIGHUB's state are named after: an embedded log's file.

    For a log on Kafka, a name in the working directory that tells apart brokers and prefixes. Raises BadInput.
    """
    path = file_of(address)
    if path == ":memory:":
        raise BadInput("--log", f"{address!r} has no file", "A play needs an address like sqlite:///play.db")
    if path is None:
        return Path.cwd() / f"callgate-{prefix}{ids.fingerprint(bootstrap_of(address))[:8]}"
    return Path(path)


def set_aside(beside: Path, *, state: bool) -> None:
    """Move away what an earlier log of the same name has left: its effects are none of a log on which nothing is yet.

    With `state`, that of the local BIGHUB too.
    """
    for left in [witness_file(beside), *([sandbox_file(beside)] if state else [])]:
        if left.exists():
            left.replace(left.with_name(f"{left.name}.old"))


def sandbox_file(beside: Path) -> Path:
    """Where a play's local BIGHUB keeps its state."""
    return beside.with_name(f"{beside.name}.sandbox")
