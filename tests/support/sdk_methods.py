"""Every public method of the SDK's clients, found by introspection, and with what the sweep calls each of them.

A method that has no entry fails the sweep, and so does an entry without a method: a new version of the SDK can't bring
an endpoint that nobody looks at.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bighub import DecisionPacket

Key = str
"""A method's path from the client, like `cases.get`; every system's own methods share one entry."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a method is called with, and what its answer must have."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    has: tuple[str, ...] = ()
    """Fields of the answer, where the SDK's annotation names none; `[]` for an array that must not be empty."""


Entry = Callable[[Any], Given]
"""What to call a method with, from a client that may make what the method needs first."""


def methods(client: object) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Path, key and bound method of everything public that the client and its parts can do."""
    yield from _walk(client, "", {id(client)})


def _walk(holder: object, path: str, seen: set[int]) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    for name in sorted(dir(holder)):
        if name.startswith("_"):
            continue
        found = getattr(holder, name)
        if inspect.ismethod(found):
            yield path + name, _key(path + name), found
        elif type(found).__module__.startswith("bighub"):
            # `rules` is `constraints` by another name.
            if id(found) not in seen:
                seen.add(id(found))
                yield from _walk(found, f"{path}{name}.", seen)
        elif callable(found):
            raise AssertionError(f"{path}{name} is callable, and no method: the sweep does not know how to look at it")


def _key(path: str) -> Key:
    parts = path.split(".")
    return f"systems.PROVIDER.{parts[2]}" if len(parts) == 3 and parts[0] == "systems" else path


def call(*args: Any, has: tuple[str, ...] = (), **kwargs: Any) -> Entry:
    """An entry that needs nothing first."""
    return lambda client: Given(args, kwargs, has)


def after(make: Callable[[Any], Any], *, has: tuple[str, ...] = (), **kwargs: Any) -> Entry:
    """An entry whose first argument is the id of something that is made first."""
    return lambda client: Given((make(client),), kwargs, has)


def decision(client: Any) -> str:
    """A decision's id."""
    return str(client.actions.evaluate(action="refund", value=5.0, domain="d")["request_id"])


def reviewed(client: Any) -> str:
    """The id of a decision that a person must look at."""
    return str(client.actions.evaluate(action="pay_out", value=5.0)["request_id"])


def reported(client: Any) -> str:
    """The id of a decision that has an outcome."""
    name = decision(client)
    client.outcomes.report(status="SUCCESS", request_id=name, recommendation_followed=True)
    return name


def connection(client: Any) -> str:
    """A live connection's id."""
    return str(client.actions.connect()["connection_id"])


def case(client: Any) -> str:
    """A case's id."""
    verdict = {"verdict": "ALLOWED", "risk_score": 0.2}
    return str(client.cases.create(domain="d", action={"action": "refund"}, verdict=verdict)["case_id"])


def closed_case(client: Any) -> str:
    """The id of a case with an outcome."""
    name = case(client)
    client.cases.report_outcome(name, status="SUCCESS")
    return name


RULE = {"name": "n", "domain": "limited", "max_per_day": 10, "max_value": 100.0}


def rule(client: Any) -> str:
    """A constraint's id."""
    return str(client.constraints.create(RULE)["rule_id"])


def key(client: Any) -> str:
    """An API key's id."""
    return str(client.api_keys.create({"label": "l"})["key_id"])


def webhook(client: Any) -> str:
    """A webhook's id."""
    return str(client.webhooks.create({"url": "https://example.org/hook"})["webhook_id"])


def delivered(client: Any) -> Given:
    """A webhook and one of its deliveries."""
    name = webhook(client)
    return Given((name, client.webhooks.test(name)["delivery_id"]), {}, ("attempts",))


def computed(client: Any) -> str:
    """The id of a case whose features are known."""
    client.features.compute(case_id="c1", org_id="1", case_data={"value": 3})
    return "c1"


def explained(client: Any) -> str:
    """The id of a case one of whose features was explained."""
    name = computed(client)
    assert client.features.explain(name, feature_key="value")["meaning"]
    return name


def snapshot(client: Any) -> str:
    """A snapshot's id."""
    return str(client.features.snapshot(case_id=computed(client))["snapshot_id"])


def refresh_token(client: Any) -> str:
    """A refresh token that is good for once."""
    count = client.auth_count = getattr(client, "auth_count", 0) + 1
    return str(client.auth.signup({"email": f"r{count}@example.org", "password": "long enough"})["refresh_token"])


def known_user(client: Any) -> Given:
    """The credentials of a user that there is."""
    refresh_token(client)
    return Given(({"email": f"r{client.auth_count}@example.org", "password": "long enough"},))


def journalled(client: Any) -> Given:
    """An event's key."""
    client.ingest.event(event_type="ACTION_EXECUTED", external_ref="order-1")
    return Given((), {"external_ref": "order-1"}, ("events",))


def reconciled(client: Any) -> Given:
    """An outcome for an event's key."""
    given = journalled(client)
    return Given((), given.kwargs | {"outcome": {"status": "SUCCESS"}}, ("status",))


def system(provider: str, **kwargs: Any) -> Callable[[Any], dict[str, Any]]:
    """Configure a system, so that it can be polled and forgotten; gives the arguments on."""

    def configured(client: Any) -> dict[str, Any]:
        path = f"/integrations/{provider}/connection"
        client.systems._transport.request(method="PUT", path=path, json_body={"url": "https://example.org"})
        return kwargs

    return configured


def packet(client: Any) -> DecisionPacket:
    """A decision packet."""
    built: DecisionPacket = client.packets.build(action="refund", candidate_actions=["refund"])
    return built
