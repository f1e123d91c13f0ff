"""Decisions on which the SDK and its adapter disagree, or which both misread: what no careful client may run.

Each row is a whole answer but for its request id. The sandbox sends them only when its faults file asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping

_PROCEED: dict[str, object] = {"enforcement_mode": "advisory", "recommendation": "proceed"}

ROWS: Mapping[str, Mapping[str, object]] = {
    # A review that only a flag would make effective.
    "D1": {"enforcement_mode": "advisory", "recommendation": "review_recommended"},
    # Proceed, and every older field says no.
    "D2": _PROCEED | {"requires_approval": True, "human_review": True, "allowed": False, "result": "blocked"},
    # A word from the future.
    "D3": {"enforcement_mode": "advisory", "recommendation": "hold_for_quorum"},
    # Enforced, in capitals, and taken for advice.
    "D4": {"enforcement_mode": "ENFORCED", "enforced_verdict": "blocked", "recommendation": "proceed"},
    # The verdict that is enforced is the one that is not read.
    "D5": {"enforcement_mode": "enforced", "enforced_verdict": "blocked", "recommendation": "proceed", "allowed": True},
    # A mode that outranks a refusal.
    "D6": {
        "enforcement_mode": "advisory",
        "execution_mode": "autonomous",
        "recommendation": "do_not_proceed",
        "allowed": False,
        "result": "blocked",
    },
    # Allowed by the verdict, and by nothing else.
    "D7": {"enforcement_mode": "enforced", "enforced_verdict": "allowed"},
    # A question, with a recommendation to go on meanwhile.
    "D8": _PROCEED | {"needs_more_context": True, "request_type": "clarification_needed"},
    # An evaluation that was only tried out.
    "D9": _PROCEED | {"dry_run": True},
    "D10": _PROCEED | {"mode": "shadow"},
    # The highest alarm, which nobody reads.
    "D11": _PROCEED
    | {
        "allowed": True,
        "should_not_run": True,
        "catastrophic_ceiling": {"active": True, "forced_mode": "blocked"},
        "verdict_override": {"verdict": "blocked"},
    },
    # A refusal that a person could be talked into.
    "D12": {"enforcement_mode": "advisory", "recommendation": "do_not_proceed", "human_review": True},
    # Texts where flags belong.
    "D13": _PROCEED | {"requires_approval": "true", "allowed": "false"},
    # A result, and nothing that one would act on.
    "D14": {"enforcement_mode": "advisory", "result": "allowed"},
}
"""The rows by their names in the list of known disagreements."""


def nth(name: str, turn: int) -> Mapping[str, object]:
    """The row of that name; for `all`, each in its turn."""
    if name == "all":
        return list(ROWS.values())[turn % len(ROWS)]
    return ROWS[name]
