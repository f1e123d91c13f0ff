"""Operational systems: their connections, when they are polled, and the state of the world that is known from them.

Nothing is ever connected to: a poll of a configured system finds nothing new, and says so. Secrets in a configuration
are kept nowhere, and come back as stars.
"""

from __future__ import annotations

import re

from callgate.sandbox.answers import Refused, invalid
from callgate.sandbox.resources.calls import Body, Call, Route, number_in
from callgate.sandbox.resources.history import history
from callgate.sandbox.store import Store
from callgate.sandbox.times import iso

PROVIDERS = (
    "github", "sentry", "datadog", "aws_cloudtrail", "terraform", "kubernetes", "argocd", "gitlab", "jenkins", "azure",
    "prometheus", "grafana", "openshift", "okta", "slack",
)  # fmt: skip
"""The systems that the SDK knows."""

_CONNECTIONS, _SCHEDULES, _POLLS = "connections", "poll_schedules", "polls"
_SECRET = re.compile(r"token|secret|password|key|credential|auth", re.IGNORECASE)
_NO_SCHEDULE: Body = {"enabled": False, "interval_seconds": 300, "max_backoff_seconds": 3600}
_MOST_SECONDS = 31 * 86_400


class Systems:
    """The endpoints of operational systems."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve; literals first, since a provider could be spelt like one."""
        one = "/integrations/{provider}"
        return [
            ("GET", "/world-state/operational", self.world),
            ("GET", "/integrations/connections", self.connections),
            ("GET", "/integrations/poll/status", self.status),
            ("GET", "/integrations/poll/metrics", self.metrics),
            ("POST", "/integrations/poll/run-due", self.run_due),
            ("GET", "/integrations/okta/user/{login:[^/]{1,128}}", self.okta_user),
            ("GET", f"{one}/connection", self.connection),
            ("PUT", f"{one}/connection", self.save),
            ("DELETE", f"{one}/connection", self.delete),
            ("POST", f"{one}/connection/test", self.test),
            ("POST", f"{one}/poll", self.poll),
            ("GET", f"{one}/poll/schedule", self.schedule),
            ("PUT", f"{one}/poll/schedule", self.update_schedule),
            ("GET", f"{one}/poll/history", self.history),
        ]

    def world(self, call: Call) -> Body:
        """Which systems are known, how fresh what is known of them is, and which actions have no outcome yet."""
        fresh = call.asked("freshness_minutes", 30) * 60
        flying = call.now - call.asked("in_flight_minutes", 60) * 60
        systems: list[Body] = []
        for each in self._org(_CONNECTIONS, call):
            polled = self._last_poll(call, str(each["provider"]))
            stale = polled is None or call.now - polled > fresh
            systems.append({"system": each["provider"], "fresh": not stale, "polled_at": polled and iso(polled)})
        pending = [past for past in history(self._store) if past.status is None and past.at >= flying]
        actions = [
            {"request_id": past.request_id, "action": past.action, "decided_at": iso(past.at)} for past in pending[::-1]
        ]
        return {
            "generated_at": call.at,
            "systems": systems,
            "in_flight": actions[: call.asked("limit", 100, most=500)],
            "in_flight_total": len(pending),
        }

    def connections(self, call: Call) -> Body:
        """Every system, whether or not it is configured."""
        return {"connections": [self._view(call, provider) for provider in PROVIDERS]}

    def connection(self, call: Call) -> Body:
        """One system. That it is not configured is no error."""
        return self._view(call, _provider(call))

    def save(self, call: Call) -> Body:
        """Configure a system."""
        provider = _provider(call)
        config = {name: value for name, value in call.body.items() if name != "display_name"}
        if not config:
            raise invalid(("config", "is empty: send what the system needs to be reached"))
        body: Body = {
            "org": _org(call),
            "provider": provider,
            "display_name": call.text("display_name") or None,
            "config": _starred(config),
            "saved_at": call.at,
        }
        self._things.put(_CONNECTIONS, _name(call, provider), body)
        return self._view(call, provider)

    def delete(self, call: Call) -> Body:
        """Forget a system's configuration and schedule."""
        provider = _provider(call)
        if not self._things.drop(_CONNECTIONS, _name(call, provider)):
            raise _unconfigured(provider)
        self._things.drop(_SCHEDULES, _name(call, provider))
        return {"provider": provider, "deleted": True}

    def test(self, call: Call) -> Body:
        """Whether a configuration could be one. Nothing is connected to, and nothing is kept."""
        provider = _provider(call)
        test: Body = {"ok": bool(call.body), "simulated": True, "checked_at": call.at}
        error = None if call.body else "the configuration is empty"
        return self._view(call, provider) | {"test": test, "last_error": error, "last_checked_at": call.at}

    def okta_user(self, call: Call) -> Body:
        """A user, once okta is configured: nobody is looked up."""
        if self._things.get(_CONNECTIONS, _name(call, "okta")) is None:
            raise _unconfigured("okta")
        return {"login": call.path["login"], "status": "ACTIVE", "groups": [], "simulated": True}

    def poll(self, call: Call) -> Body:
        """Poll a configured system now."""
        return self._poll(call, _provider(call))

    def schedule(self, call: Call) -> Body:
        """When a system is polled."""
        provider = _provider(call)
        return {"provider": provider, "schedule": self._schedule(call, provider)}

    def update_schedule(self, call: Call) -> Body:
        """Set when a system is polled. Polls happen at `run-due`, never by themselves."""
        provider = _provider(call)
        if self._things.get(_CONNECTIONS, _name(call, provider)) is None:
            raise _unconfigured(provider)
        schedule: Body = {"enabled": call.flag("enabled", default=True)}
        for name in ("interval_seconds", "max_backoff_seconds"):
            seconds = call.number(name, number_in(_NO_SCHEDULE, name)) or 0
            if not isinstance(seconds, int) or not 1 <= seconds <= _MOST_SECONDS:
                raise invalid((name, f"must be a whole number from 1 to {_MOST_SECONDS}"))
            schedule[name] = seconds
        kept: Body = {"org": _org(call), "provider": provider, "schedule": schedule}
        self._things.put(_SCHEDULES, _name(call, provider), kept)
        return {"provider": provider, "schedule": schedule}

    def history(self, call: Call) -> Body:
        """A system's polls, the newest first."""
        provider, most = _provider(call), call.asked("limit", 50, most=500)
        return {"provider": provider, "history": self._polls(call, provider)[::-1][:most], "limit": most}

    def status(self, call: Call) -> Body:
        """What is due."""
        due = self._due(call)
        enabled = any(_enabled(each) for each in self._org(_SCHEDULES, call))
        return {"enabled": enabled, "running": False, "due_count": len(due), "metrics": self._metrics(call)}

    def metrics(self, call: Call) -> Body:
        """Counts of polls."""
        return {"metrics": self._metrics(call)}

    def run_due(self, call: Call) -> Body:
        """Poll every system whose time has come."""
        polled = [self._poll(call, provider) for provider in self._due(call)]
        return {"ran": len(polled), "results": polled}

    def _view(self, call: Call, provider: str) -> Body:
        found = self._things.get(_CONNECTIONS, _name(call, provider))
        polled = self._last_poll(call, provider)
        return {
            "provider": provider,
            "configured": found is not None,
            "display_name": found["display_name"] if found is not None else None,
            "config": found["config"] if found is not None else {},
            "last_error": None,
            "last_checked_at": polled and iso(polled),
            "security_requirements": {},
            "credential_audit": {"secrets_kept": False},
        }

    def _poll(self, call: Call, provider: str) -> Body:
        if self._things.get(_CONNECTIONS, _name(call, provider)) is None:
            raise _unconfigured(provider)
        body: Body = {"provider": provider, "status": "ok", "events": 0, "simulated": True, "polled_at": call.at}
        self._things.note(_POLLS, body | {"org": _org(call), "at": call.now})
        return body

    def _schedule(self, call: Call, provider: str) -> Body:
        found = self._things.get(_SCHEDULES, _name(call, provider))
        schedule = found["schedule"] if found is not None else _NO_SCHEDULE
        assert isinstance(schedule, dict)
        return schedule

    def _polls(self, call: Call, provider: str) -> list[Body]:
        return [each for each in self._org(_POLLS, call) if each["provider"] == provider]

    def _last_poll(self, call: Call, provider: str) -> float | None:
        found = self._polls(call, provider)
        return number_in(found[-1], "at") if found else None

    def _due(self, call: Call) -> list[str]:
        due = []
        for each in self._org(_SCHEDULES, call):
            provider = str(each["provider"])
            last = self._last_poll(call, provider)
            seconds = number_in(self._schedule(call, provider), "interval_seconds") or 0.0
            if _enabled(each) and (last is None or call.now - last >= seconds):
                due.append(provider)
        return due

    def _metrics(self, call: Call) -> Body:
        polls = self._org(_POLLS, call)
        return {"polls_total": len(polls), "polls_failed": 0, "configured": len(self._org(_CONNECTIONS, call))}

    def _org(self, kind: str, call: Call) -> list[Body]:
        return [each for each in self._things.all(kind) if each["org"] == _org(call)]


def _org(call: Call) -> str:
    return call.query.get("org_id", "1")


def _name(call: Call, provider: str) -> str:
    return f"{_org(call)}/{provider}"


def _provider(call: Call) -> str:
    name = call.path["provider"]
    if name not in PROVIDERS:
        raise Refused(404, "unknown_provider", f"there are {', '.join(PROVIDERS)}")
    return name


def _unconfigured(provider: str) -> Refused:
    return Refused(
        404, "not_configured", f"{provider} is not configured: PUT /integrations/{provider}/connection first"
    )


def _enabled(kept: Body) -> bool:
    schedule = kept["schedule"]
    return isinstance(schedule, dict) and schedule.get("enabled") is True


def _starred(value: object, name: str = "") -> object:
    """The configuration without what its name says is a secret, at any depth."""
    if isinstance(value, dict):
        return {each: _starred(found, each) for each, found in value.items()}
    if isinstance(value, list):
        return [_starred(each, name) for each in value]
    return "***" if _SECRET.search(name) else value
