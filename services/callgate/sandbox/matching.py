"""Which requests a rule of a policy is about: globs for text, ranges for numbers, nested keys for context. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two bounds, each of which may be missing."""

    least: float | None = None
    """The lowest that matches."""
    most: float | None = None
    """The highest that matches."""
    above: float | None = None
    below: float | None = None

    def holds(self, value: object) -> bool:
        """Whether `value` is a number in the range. Absence is not: a rule about an amount says nothing without one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions that must all hold."""

    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For action, actor, domain and target: globs, of which one must match the whole text, case and all."""
    value: Range | None = None
    context: Mapping[str, object] = field(default_factory=dict)
    arguments: Mapping[str, object] = field(default_factory=dict)

    def holds(self, request: Mapping[str, object]) -> bool:
        """Whether every condition holds for a request's body."""
        return (
            all(_text_holds(globs, request.get(name)) for name, globs in self.texts.items())
            and (self.value is None or self.value.holds(request.get("value")))
            and _holds(self.context, request.get("context"))
            and _holds(self.arguments, request.get("arguments"))
        )


def _text_holds(globs: tuple[str, ...], text: object) -> bool:
    return isinstance(text, str) and any(fnmatchcase(text, glob) for glob in globs)


def _holds(wanted: object, found: object) -> bool:
    """Tables match by key, lists by any item, texts as globs, the rest by equality of type and value."""
    if isinstance(wanted, Mapping):
        if not wanted:
            return True
        return isinstance(found, Mapping) and all(
            name in found and _holds(each, found[name]) for name, each in wanted.items()
        )
    if isinstance(wanted, list):
        return any(_holds(each, found) for each in wanted)
    if isinstance(wanted, str):
        return isinstance(found, str) and fnmatchcase(found, wanted)
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    return wanted == found
