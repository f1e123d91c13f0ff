"""Every public method of the SDK, sync and async, against the sandbox: none is left out, and none is answered oddly."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from bighub import AsyncBighubClient, Bighub, BighubClient
from tests.support.sdk_calls import entries
from tests.support.sdk_methods import Given, methods

from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox

POLICY = parse_policy('[default]\ndecision = "allow"\n\n[[rule]]\naction = "pay_*"\ndecision = "review"')
CLOSING = {"close"}
"""Methods that talk to nobody."""


def wrong_with(answer: Any, method: Callable[..., Any], given: Given) -> str | None:
    """What is wrong with an answer, by the SDK's own annotation and by the table."""
    told = typing.get_type_hints(method)
    promised = told.get("return")
    if dataclasses.is_dataclass(answer) or type(answer).__module__.startswith("bighub"):
        return None if answer is not None else "nothing"
    if promised is not None and not _names_a_class(promised):
        # The SDK offers these two systems, and its annotation of a provider does not know them.
        unlisted = isinstance(answer, dict) and answer.get("provider") in {"okta", "slack"}
        try:
            msgspec.convert(answer | {"provider": "github"} if unlisted else answer, promised)
        except msgspec.ValidationError as error:
            return f"is not what the SDK promises: {error}"
        keys = getattr(promised, "__annotations__", {})
        if keys and not set(keys) & set(answer):
            return f"has none of the fields of {promised}"
    elif not given.has:
        return "the table must say what the answer has: the SDK does not"
    if given.has == ("[]",):
        return None if isinstance(answer, list) and answer else "is no array with something in it"
    missing = [name for name in given.has if name not in answer]
    return f"lacks {missing}" if missing else None


def _names_a_class(promised: Any) -> bool:
    """Whether the annotation is of an object of the SDK's, which it makes itself of the answer."""
    parts = typing.get_args(promised) or (promised,)
    return any(isinstance(part, type) and dataclasses.is_dataclass(part) for part in parts)


def keys_of(client: object) -> set[str]:
    """The keys of all methods."""
    return {key for _, key, _ in methods(client)} - CLOSING


@pytest.mark.parametrize("kind", [BighubClient, Bighub, AsyncBighubClient])
async def test_item_1_every_method_is_answered(kind: Any) -> None:
    """Each method of each client gets an answer in the shape that the SDK promises, and each endpoint is asked for."""
    wrong = {}
    reached: set[tuple[str, str]] = set()
    async with Sandbox(policy=POLICY) as sandbox:
        _watch(sandbox, reached)
        client = kind(base_url=sandbox.url, api_key="any", max_retries=0)
        with BighubClient(base_url=sandbox.url, api_key="any", max_retries=0) as maker:
            for path, key, method in methods(client):
                if key in CLOSING:
                    continue
                entry = entries(path).get(key)
                assert entry is not None, f"no entry for {path}: add one, whatever it does"
                given = await asyncio.to_thread(entry, maker)
                answer = await _called(method, given)
                if (fault := wrong_with(answer, method, given)) is not None:
                    wrong[path] = fault
        await _called(client.close, Given())
        served = {place for place in _places(sandbox) if not place[1].startswith("/v1/")}
    assert wrong == {}
    assert len(served) == 139
    assert served - reached == set(), "an endpoint that no method of the SDK asks for"


def _places(sandbox: Sandbox) -> set[tuple[str, str]]:
    """Method and path of every endpoint."""
    assert sandbox._runner is not None
    return {
        (route.method, route.resource.canonical)
        for route in sandbox._runner.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


def _watch(sandbox: Sandbox, reached: set[tuple[str, str]]) -> None:
    """Collect the endpoints that are asked for."""
    assert sandbox._runner is not None
    router = sandbox._runner.app.router
    resolve = router.resolve

    async def resolved(request: Any) -> Any:
        found = await resolve(request)
        if found.route.resource is not None:
            reached.add((request.method, found.route.resource.canonical))
        return found

    router.resolve = resolved  # type: ignore[method-assign]


async def _called(method: Callable[..., Any], given: Given) -> Any:
    if inspect.iscoroutinefunction(method):
        return await method(*given.args, **given.kwargs)
    answer = await asyncio.to_thread(method, *given.args, **given.kwargs)
    return await answer if inspect.isawaitable(answer) else answer


@pytest.mark.parametrize("kind", [BighubClient, Bighub, AsyncBighubClient])
def test_the_table_is_of_this_sdk(kind: Any) -> None:
    """Every method has an entry, and no entry is of a method that there is not."""
    client = kind(base_url="http://127.0.0.1:9", api_key="any")
    assert keys_of(client) == set(entries("systems.github.poll"))
    assert len(keys_of(client)) > 150
