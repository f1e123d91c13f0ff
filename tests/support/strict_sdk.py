"""The model's SDK against the sandbox, refusing whatever does not fit its types."""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI

from callgate.sandbox.service import Sandbox


def strict_sdk(box: Sandbox, **options: Any) -> AsyncOpenAI:
    """A client that retries nothing; options take the place of these."""
    strict: dict[str, Any] = {"max_retries": 0, "_strict_response_validation": True}
    return AsyncOpenAI(base_url=box.model_url, api_key="any", **strict | options)
