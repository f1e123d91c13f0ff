"""What exactly was decided, voted on and claimed: SHA-256 over the canonical JSON of the facts of a call.

The platform's own labels (risk, environment, context) stay outside it: they may be added later and must not make an
approval invalid. Canonical means: keys sorted, no white space, numbers as the shortest text that orjson gives, UTF-8.
Numbers keep what was sent: `1` and `1.0` are different arguments, since a tool can tell them apart.
"""

from __future__ import annotations

import hashlib

import orjson


def digest(*, tenant: str, agent: str, tool: str, tool_version: str, target: str, arguments: object) -> str:
    """64 hexadecimal digits. `arguments` is decoded JSON, or the raw text where it could not be decoded."""
    return canonical_digest(
        {
            "agent": agent,
            "arguments": arguments,
            "target": target,
            "tenant": tenant,
            "tool": tool,
            "tool_version": tool_version,
        }
    )


def canonical_digest(value: object) -> str:
    """SHA-256 over canonical JSON. Raises TypeError where `value` is not JSON."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: object) -> bytes:
    """Canonical JSON. A lone surrogate, which orjson refuses, is a ValueError for the caller to report."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        message = f"not canonical JSON: {error}"
        raise ValueError(message) from error
