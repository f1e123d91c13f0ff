"""Faults on demand: a TOML file that says which requests fail, how, and how often. Counted, never random.

[[fault]]
route = "POST /actions/evaluate"   # a glob over method and path; all routes unless given
action = "refund_*"                # a glob over the body's action
status = 503                       # answer with an error ...
retry_after = 2                    # ... and a Retry-After header, in seconds
headers = { retry-after-ms = "5", x-should-retry = "false" }   # ... and other headers
when = "after"                     # the work is done and its answer lost; "before" (default): nothing is done
skip = 10                          # let the first ten pass
every = 5                          # then every fifth
times = 3                          # at most three times
delay_seconds = 0.5                # wait first; alone: only slow
body = "html"                      # a 200 that is none: html, list, null, scalar, empty or truncated
missing = ["request_id"]           # take fields out of the answer
hostile = "D5"                     # a contradictory decision (D1 to D14), or "all" in turn
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, cast, get_args

from callgate.failures import BadInput
from callgate.sandbox.hostile import ROWS
from callgate.sandbox.reading import globs, known, number, read_text, read_toml, table, text

Body = Literal["html", "list", "null", "scalar", "empty", "truncated"]
"""What is sent in place of the answer, with status 200."""

_BODIES = get_args(Body)
_FIELDS = (
    "route", "action", "status", "retry_after", "when", "skip", "every", "times", "delay_seconds", "body", "missing",
    "hostile", "headers",
)  # fmt: skip
_EFFECTS = ("status", "delay_seconds", "body", "missing", "hostile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail."""

    route: str = "*"
    action: str | None = None
    status: int | None = None
    retry_after: float | None = None
    after: bool = False
    """Whether the work is done before the answer is spoilt."""
    skip: int = 0
    every: int = 1
    times: int | None = None
    delay_seconds: float = 0.0
    body: Body | None = None
    missing: tuple[str, ...] = ()
    hostile: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def concerns(self, route: str, action: object) -> bool:
        """Whether a request is one that this fault counts."""
        if not fnmatchcase(route, self.route):
            return False
        return self.action is None or (isinstance(action, str) and fnmatchcase(action, self.action))

    def strikes(self, nth: int) -> bool:
        """Whether the fault happens to the nth request that it counts, from 1."""
        beyond = nth - self.skip
        if beyond < 1 or beyond % self.every:
            return False
        return self.times is None or beyond // self.every <= self.times


class Faults:
    """The faults of a sandbox and how often each has counted. The counts begin anew with the process."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        """In this order: the first that strikes is the one that happens."""
        self._faults = tuple(faults)
        self._counts = [0] * len(self._faults)
        self._struck = [0] * len(self._faults)

    @property
    def read_actions(self) -> bool:
        """Whether any fault looks at the action, which takes reading the body."""
        return any(fault.action is not None for fault in self._faults)

    def strike(self, route: str, action: object) -> tuple[Fault, int] | None:
        """The fault for this request, with how often it has struck before. Every concerned fault counts."""
        struck: tuple[Fault, int] | None = None
        for index, fault in enumerate(self._faults):
            if not fault.concerns(route, action):
                continue
            self._counts[index] += 1
            if struck is None and fault.strikes(self._counts[index]):
                struck = (fault, self._struck[index])
                self._struck[index] += 1
        return struck


def load_faults(path: Path) -> Faults:
    """The faults of a file. Raises `BadInput` that names file, fault, field and the way out."""
    return parse_faults(read_text(path, "--faults"), str(path))


def parse_faults(source_text: str, source: str = "faults") -> Faults:
    """See `load_faults`; `source` is what errors call the file."""
    document = read_toml(source_text, source)
    known(document, ("fault",), source)
    found = document.get("fault", [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadInput(f"{source}: fault", "is not a list of tables", "Begin every fault with [[fault]]")
    return Faults(_fault(each, f"{source}: fault {index}") for index, each in enumerate(found, 1))


def _fault(found: dict[str, object], where: str) -> Fault:
    known(found, _FIELDS, where)
    if not any(name in found for name in _EFFECTS):
        raise BadInput(where, "does nothing", f"Give it one of {', '.join(_EFFECTS)}")
    hostile = _one_of(found, "hostile", (*ROWS, "all"), where)
    after = _one_of(found, "when", ("before", "after"), where) == "after"
    if "retry_after" in found and "status" not in found:
        raise BadInput(f"{where}: retry_after", "has no meaning without a status", "Add status = 429")
    headers = table(found, "headers", where)
    if headers and "status" not in found:
        raise BadInput(f"{where}: headers", "have no meaning without a status", "Add status = 503")
    return Fault(
        route=text(found, "route", where) or "*",
        action=text(found, "action", where),
        status=_whole(found, "status", where, 300, 599),
        retry_after=number(found, "retry_after", where, least=0, most=1e6),
        after=after,
        skip=_whole(found, "skip", where, 0, 10**9) or 0,
        every=_whole(found, "every", where, 1, 10**9) or 1,
        times=_whole(found, "times", where, 1, 10**9),
        delay_seconds=number(found, "delay_seconds", where, least=0, most=3600) or 0.0,
        body=cast("Body | None", _one_of(found, "body", _BODIES, where)),
        missing=globs(found, "missing", where) if "missing" in found else (),
        hostile=hostile,
        headers={name: text(headers, name, f"{where}: headers") or "" for name in headers},
    )


def _one_of(found: dict[str, object], name: str, allowed: tuple[str, ...], where: str) -> str | None:
    value = text(found, name, where)
    if value is not None and value not in allowed:
        raise BadInput(f"{where}: {name}", f"{value!r} is unknown", f"Use one of {', '.join(allowed)}")
    return value


def _whole(found: dict[str, object], name: str, where: str, least: int, most: int) -> int | None:
    value = number(found, name, where, least=least, most=most)
    if value is not None and not isinstance(value, int):
        raise BadInput(f"{where}: {name}", f"{value!r} is no whole number", f"Use {least} to {most}")
    return value
