"""BIGHUB over its own SDK, in our words: one call, one attempt, a resolved answer or one of our failures.

The SDK's retries are off, because the worker's are the only ones: they are durable, honour Retry-After and let a
tenant's other work go on. The SDK turns a 200 that is no JSON (a proxy's page, a cut-off body) into `{}`; that is no
decision and no receipt, so it is a temporary failure, as an unreachable BIGHUB is. A JSON object is always an answer,
and an answer is always resolved, however strange.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from bighub.exceptions import BighubError
from bighub.resources.actions import AsyncActionsAPI
from bighub.resources.ingest import AsyncIngestAPI
from bighub.resources.kill_switch import AsyncKillSwitchAPI
from bighub.resources.outcomes import AsyncOutcomesAPI

from callgate.bighub.failures import Unauthorized, translated
from callgate.bighub.requests import EvaluateRequest, OutcomeReport
from callgate.bighub.resolve import Resolution, resolve
from callgate.bighub.transport import AiohttpTransport, check_address, proxy_for
from callgate.events.ids import is_id
from callgate.failures import BadInput, PermanentFailure, TemporaryFailure
from callgate.settings import BighubSettings

_BATCH = 500


class Bighub:
    """One process's connection to BIGHUB. Raises `BadInput` when the address can't be used.

    Every method raises `TemporaryFailure` (try later), `Unauthorized` (the key is refused) or `PermanentFailure`
    (this request can never be taken), and nothing else that BIGHUB could cause. No message holds the key.
    """

    def __init__(self, settings: BighubSettings, *, connections: int = 100) -> None:
        """Connect lazily: nothing is sent before the first call.

        At most `connections` calls are on their way at once; others wait, within their time limit.
        """
        self._settings = settings
        self._refused: str | None = None
        _check(settings.url)
        key = settings.key.reveal()
        if not (key.isascii() and key.isprintable()):
            raise BadInput(
                "CALLGATE_BIGHUB_KEY", "has characters that can't stand in a header", "Use the key as issued"
            )
        self._transport = AiohttpTransport(
            base_url=settings.url, api_key=key or None, timeout=settings.timeout_seconds, connections=connections
        )
        self._actions = AsyncActionsAPI(self._transport)
        self._ingest = AsyncIngestAPI(self._transport)
        self._kill_switch = AsyncKillSwitchAPI(self._transport)
        self._outcomes = AsyncOutcomesAPI(self._transport)

    @property
    def refused(self) -> str | None:
        """Why BIGHUB refused our credentials at the last call that it answered; None while it takes them."""
        return self._refused

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.close()

    async def evaluate(self, request: EvaluateRequest) -> Resolution:
        """Ask for a decision. Safe to repeat: the idempotency key makes BIGHUB give the same answer again."""
        key = _safe(request.idempotency_key, "the idempotency key")
        answer = await self._call(
            "evaluate",
            lambda: self._actions.evaluate_payload(payload=_payload(request), idempotency_key=key),
        )
        return resolve(answer)

    async def evaluate_batch(self, requests: Sequence[EvaluateRequest]) -> list[Resolution]:
        """Ask for many decisions at once, and get them in the same order. There are no keys: a repeat asks anew."""
        answers = await self._send(
            "evaluate batch",
            lambda: self._actions.evaluate_batch(actions=[_payload(request) for request in requests]),
        )
        if not isinstance(answers, list) or len(answers) != len(requests):
            raise TemporaryFailure("BIGHUB's answer is not one decision for each action of the batch")
        return [resolve(answer) for answer in answers]

    async def ingest_batch(self, events: Sequence[Mapping[str, object]]) -> None:
        """Hand over lifecycle events, at most 500 a request. The API has no keys here: a repeat may arrive twice."""
        for first in range(0, len(events), _BATCH):
            chunk = [dict(event) for event in events[first : first + _BATCH]]
            await self._call("ingest", partial(self._ingest.batch, chunk))

    async def report_outcome(self, report: OutcomeReport) -> None:
        """Report what became of a decision."""
        await self._call(
            "outcome",
            lambda: self._outcomes.report(
                request_id=_safe(report.request_id, "the request id"),
                status=report.status,
                description=report.description,
                details=dict(report.details),
                production_action=report.production_action,
                human_final_action=report.human_final_action,
                recommendation_followed=report.recommendation_followed,
                outcome_label_quality=report.label_quality,
                correction_needed=report.correction_needed,
                rollback_performed=report.rollback_performed,
                revenue_impact=report.revenue_impact,
                observed_at=report.observed_at,
                reported_by=report.reported_by,
                tags=list(report.tags) or None,
            ),
        )

    async def reconcile(self, *, external_ref: str, outcome: Mapping[str, object]) -> None:
        """Report an outcome that is known only under an outside reference that some ingested event has named."""
        await self._call(
            "reconcile",
            lambda: self._ingest.reconcile(key_name="external_ref", key_value=external_ref, outcome=dict(outcome)),
        )

    async def kill_switch_status(self) -> bool:
        """Whether a switch of BIGHUB's own is active. An answer that does not plainly say no counts as yes."""
        answer = await self._call("kill switch", self._kill_switch.status)
        return answer.get("is_active") is not False or bool(answer.get("active_switches"))

    async def _call(self, call: str, send: Callable[[], Awaitable[object]]) -> Mapping[str, object]:
        """What must be answered with an object that has something in it."""
        answer = await self._send(call, send)
        if not isinstance(answer, dict) or not answer:
            raise TemporaryFailure(f"BIGHUB's answer is no JSON object, or an empty one ({call}): a proxy in between?")
        return answer

    async def _send(self, call: str, send: Callable[[], Awaitable[object]]) -> object:
        """Send once; the transport holds the time limit."""
        try:
            answer = await send()
        except BighubError as error:
            failure = translated(call, error)
            if isinstance(failure, Unauthorized):
                self._refused = failure.reason
            # The chain would carry the request, headers and all, into whatever prints a traceback.
            raise self._without_key(failure) from None
        except (TypeError, ValueError, RecursionError) as error:
            message = f"the request can't be written as JSON ({call}): {type(error).__name__}"
            raise PermanentFailure(message) from None
        self._refused = None
        return answer

    def _without_key(self, failure: TemporaryFailure | PermanentFailure) -> TemporaryFailure | PermanentFailure:
        """The failure itself, unless the other side has echoed our key in its error."""
        key = self._settings.key.reveal()
        if not key or key not in failure.reason:
            return failure
        reason = failure.reason.replace(key, "***")
        if isinstance(failure, PermanentFailure):
            return PermanentFailure(reason)
        return type(failure)(reason, delay=failure.delay)


def _payload(request: EvaluateRequest) -> Any:
    payload: dict[str, object] = {
        "action": request.action,
        "actor": request.actor,
        "context": {"objective": "better_decision", "model_selection": "auto", **request.context},
        "arguments": dict(request.arguments),
    }
    optional = {"value": request.value, "target": request.target, "domain": request.domain}
    return payload | {name: given for name, given in optional.items() if given is not None}


def _check(url: str) -> None:
    """Raise `BadInput` for an address that can't be used, or that only a proxy which can't be used would reach."""
    name = "CALLGATE_BIGHUB_URL"
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadInput(name, "is no web address", "Use https://host, or http://127.0.0.1:port")
    try:
        check_address(url)
    except ValueError:
        raise BadInput(name, "is plain http to another host", "Use https, or http to localhost or 127.0.0.1") from None
    try:
        proxy_for(url)
    except ValueError as error:
        raise BadInput(name, f"can't be reached: {error}", "Set HTTPS_PROXY to an http proxy, or NO_PROXY") from None


def _safe(identifier: str, what: str) -> str:
    """An id that may stand in a header and a path: the SDK escapes neither."""
    if not is_id(identifier):
        raise PermanentFailure(f"{what} has characters that are unsafe in a path, or is longer than 128")
    return identifier
