"""How BIGHUB fails, in our words: what the SDK raises, told apart by what the caller should do about it.

Only a request that this server will never take is permanent. A refused key, a redirect or a used-up quota says nothing
against the work: it waits until somebody mends it.
"""

from __future__ import annotations

import math

from bighub.exceptions import (
    BighubAPIError,
    BighubAuthError,
    BighubNetworkError,
    BighubRateLimitError,
    BighubTimeoutError,
)

from callgate.bighub.transport import AnswerTooLargeError
from callgate.failures import PermanentFailure, TemporaryFailure

_PERMANENT = frozenset({400, 404, 405, 410, 411, 412, 413, 414, 415, 422, 431})
_LONGEST_DELAY = 3600.0
_DETAIL_LENGTH = 300


class Unauthorized(TemporaryFailure):
    """BIGHUB refuses our credentials (401 or 403): nothing runs, and the service is unready until somebody mends it.

    Temporary, because the work itself is sound: it is parked, not thrown away, while the key is wrong.
    """


def translated(call: str, error: Exception) -> TemporaryFailure | PermanentFailure:
    """Our failure for what the SDK raised during `call`. The text of a refused key's answer is not repeated."""
    match error:
        case BighubAuthError():
            return Unauthorized(f"BIGHUB refuses the credentials ({call}): check CALLGATE_BIGHUB_KEY and its scopes")
        case BighubRateLimitError():
            return TemporaryFailure(f"BIGHUB limits the rate ({call}, 429)", delay=_delay(error.retry_after_seconds))
        case BighubAPIError() if error.status_code in _PERMANENT:
            return PermanentFailure(f"BIGHUB can't take this request ({call}, {error.status_code}): {_detail(error)}")
        case BighubAPIError():
            return TemporaryFailure(f"BIGHUB failed ({call}, {error.status_code}): {_detail(error)}")
        case BighubTimeoutError():
            return TemporaryFailure(f"BIGHUB did not answer in time ({call})")
        case AnswerTooLargeError():
            return TemporaryFailure(f"BIGHUB's answer is larger than we take ({call}): a proxy in between?")
        case BighubNetworkError():
            return TemporaryFailure(f"BIGHUB can't be reached ({call}): {error.__cause__}")
        case _:
            return TemporaryFailure(f"BIGHUB's SDK failed ({call}): {type(error).__name__}")


def _delay(seconds: float | None) -> float | None:
    """A delay that the other side may not use to stall us for ever, nor to crash us: `Retry-After: nan` parses."""
    if seconds is None or math.isnan(seconds) or seconds < 0:
        return None
    return min(seconds, _LONGEST_DELAY)


def _detail(error: BighubAPIError) -> str:
    """Code and message of an error body. Of validation errors only place and message: they also echo the input."""
    detail = error.detail
    if isinstance(detail, list):
        texts = [f"{_place(each.get('loc'))}: {each.get('msg')}" for each in detail if isinstance(each, dict)]
        text = "; ".join(texts)
    elif isinstance(detail, dict):
        text = ": ".join(str(detail[name]) for name in ("code", "message") if detail.get(name))
    else:
        text = str(detail or error.message)
    return text[:_DETAIL_LENGTH] or error.message


def _place(loc: object) -> str:
    return ".".join(str(part) for part in loc) if isinstance(loc, list) else "body"
