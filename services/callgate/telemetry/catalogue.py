"""Every metric that Callgate shows: one list, so that names, units and labels are decided in one place.

Durations are seconds. The labels `tool`, `tenant` and `domain` are bounded (see `metrics.Metrics`): names come from
models and agents, and an unbounded label is a way to fill a monitoring system from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets for what machines do: a commit, a gate, a call."""

HUMAN = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Buckets for what people do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; `help` is its documentation, here and on the wire."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = QUICK


PROPOSED = Metric(
    name="callgate_actions_proposed",
    kind="counter",
    help="Actions proposed, by whether they came with a fault that ends them unseen.",
    labels=("fault", "tool", "domain", "tenant"),
)
DECIDED = Metric(
    name="callgate_actions_decided",
    kind="counter",
    help="Decisions made: a rate over it is the decision rate. Repeats of a decision are not counted.",
    labels=("verdict", "tool", "domain", "tenant"),
)
FINISHED = Metric(
    name="callgate_actions_finished",
    kind="counter",
    help="Actions that ended, by how and by what ended them. Sums to the actions proposed, less those under way.",
    labels=("status", "via", "tool", "domain", "tenant"),
)
DOUBTED = Metric(
    name="callgate_actions_in_doubt",
    kind="counter",
    help="Starts whose end is unknown. Each needs a probe or a person.",
    labels=("tool", "domain", "tenant"),
)
REFUSED = Metric(
    name="callgate_transitions_refused",
    kind="counter",
    help="Events that the table of states does not allow: a second end, a start after an end. Ideally flat.",
    labels=("state", "step"),
)
ADDED = Metric(
    name="callgate_added_seconds",
    kind="histogram",
    help="From proposed to started, less BIGHUB's time and human waiting: what Callgate itself costs an action.",
)
TOOL = Metric(
    name="callgate_tool_seconds",
    kind="histogram",
    help="How long tools ran, whatever came of it.",
    labels=("tool",),
    buckets=(*QUICK, 30.0, 60.0, 300.0),
)
BIGHUB = Metric(
    name="callgate_bighub_seconds",
    kind="histogram",
    help="How long BIGHUB took, by what was asked and whether it answered.",
    labels=("request", "outcome"),
)
MODEL = Metric(
    name="callgate_model_seconds",
    kind="histogram",
    help="How long the model took, by what came of it: calls, final, incomplete, failed, again, refused, unauthorized.",
    labels=("outcome",),
    buckets=(*QUICK, 30.0, 60.0, 300.0),
)
TOKENS = Metric(
    name="callgate_model_tokens",
    kind="counter",
    help="Tokens that the model's provider counted, input and output; also those of an answer that a crash has lost.",
    labels=("direction", "agent", "tenant"),
)
APPROVAL = Metric(
    name="callgate_approval_seconds",
    kind="histogram",
    help="How long approvals waited, by how they ended. Expiry is not a rejection.",
    labels=("resolution",),
    buckets=HUMAN,
)
VOTES = Metric(
    name="callgate_votes",
    kind="counter",
    help="Votes at the entrance, by whether they were believed. Many refused ones are junk, or somebody without a key.",
    labels=("verification",),
)
REPORTED = Metric(
    name="callgate_reported",
    kind="counter",
    help="Events, outcomes and answers that BIGHUB has accepted; approval_closed: it had nothing open to answer.",
    labels=("kind",),
)
NOTIFIED = Metric(
    name="callgate_notified",
    kind="counter",
    help="Notices by channel: sent, failed (tried again), or refused (a dead letter).",
    labels=("channel", "outcome"),
)
ANNOUNCED = Metric(
    name="callgate_model_notices",
    kind="counter",
    help="The provider's notices: passed (to its turn), ignored (of no turn here), failed (asked for again) or forged.",
    labels=("outcome",),
)
HANDLED = Metric(
    name="callgate_worker_handled",
    kind="counter",
    help="Attempts at records and timers: done, retried (waits in its lane), parked, or dead (a dead letter).",
    labels=("service", "outcome"),
)
HANDLING = Metric(
    name="callgate_worker_handling_seconds",
    kind="histogram",
    help="How long one attempt took, all its stages and their commits included.",
    labels=("service",),
)
FAILURES = Metric(
    name="callgate_worker_failures",
    kind="counter",
    help="Failed attempts by class of failure. A class that is not TemporaryFailure or PermanentFailure is a defect.",
    labels=("service", "failure"),
)
COMMITS = Metric(
    name="callgate_worker_commit_seconds",
    kind="histogram",
    help="How long the log took for one unit.",
    labels=("service",),
)
UNITS = Metric(
    name="callgate_worker_committed",
    kind="counter",
    help="Effects committed; over the number of units it says how many share one.",
    labels=("service",),
)
LEASES_LOST = Metric(
    name="callgate_worker_leases_lost",
    kind="counter",
    help="Leases that ended other than by giving them back: `lost`, or a commit of `unknown` end.",
    labels=("service", "how"),
)
LEASES = Metric(name="callgate_worker_leases", kind="gauge", help="Leases held now.", labels=("service",))
IN_FLIGHT = Metric(
    name="callgate_worker_in_flight",
    kind="gauge",
    help="Records fetched and not yet committed as done.",
    labels=("service",),
)
RUNNING = Metric(
    name="callgate_worker_running", kind="gauge", help="Attempts that run now, out of the limit.", labels=("service",)
)
PARKED = Metric(
    name="callgate_worker_parked",
    kind="gauge",
    help="Records that wait in the state of the leases held here.",
    labels=("service",),
)
OLDEST_IN_FLIGHT = Metric(
    name="callgate_worker_oldest_in_flight_seconds",
    kind="gauge",
    help="Age of the oldest record in memory, since it was fetched. Rises without end when a lane hangs.",
    labels=("service",),
)
OLDEST_PARKED = Metric(
    name="callgate_worker_oldest_parked_seconds",
    kind="gauge",
    help="Age of the oldest parked record, since it was first tried or fetched.",
    labels=("service",),
)
LAG = Metric(
    name="callgate_worker_lag",
    kind="gauge",
    help="Records of held leases that are on the log and not done; measured every few seconds.",
    labels=("service",),
)
EPOCH = Metric(
    name="callgate_control_epoch",
    kind="gauge",
    help="The last change of `control` that this service has applied; -1 before the first.",
    labels=("service",),
)

CATALOGUE: tuple[Metric, ...] = (
    PROPOSED,
    DECIDED,
    FINISHED,
    DOUBTED,
    REFUSED,
    ADDED,
    TOOL,
    BIGHUB,
    MODEL,
    TOKENS,
    APPROVAL,
    VOTES,
    REPORTED,
    NOTIFIED,
    ANNOUNCED,
    HANDLED,
    HANDLING,
    FAILURES,
    COMMITS,
    UNITS,
    LEASES_LOST,
    LEASES,
    IN_FLIGHT,
    RUNNING,
    PARKED,
    OLDEST_IN_FLIGHT,
    OLDEST_PARKED,
    LAG,
    EPOCH,
)
"""What /metrics shows; nothing else is registered."""
