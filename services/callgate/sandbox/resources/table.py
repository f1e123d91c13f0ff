"""The routing table: every family of endpoints, in one list."""

from __future__ import annotations

from aiohttp import web

from callgate.clock import Clock
from callgate.sandbox.outcomes import Outcomes
from callgate.sandbox.resources.accounts import Accounts
from callgate.sandbox.resources.analytics import Analytics
from callgate.sandbox.resources.calibration import Calibration
from callgate.sandbox.resources.calls import Route, wired
from callgate.sandbox.resources.cases import Cases
from callgate.sandbox.resources.dashboard import Dashboard
from callgate.sandbox.resources.features import Features
from callgate.sandbox.resources.insights import Insights
from callgate.sandbox.resources.journal import Events
from callgate.sandbox.resources.keys import Keys
from callgate.sandbox.resources.learning import Learning
from callgate.sandbox.resources.live import Live
from callgate.sandbox.resources.memory import Memory
from callgate.sandbox.resources.precedents import Precedents
from callgate.sandbox.resources.retrieval import Retrieval
from callgate.sandbox.resources.rules import Rules
from callgate.sandbox.resources.simulations import Simulations
from callgate.sandbox.resources.systems import Systems
from callgate.sandbox.resources.webhooks import Webhooks
from callgate.sandbox.store import Store


def routes(store: Store, outcomes: Outcomes) -> list[Route]:
    """Every route beside those of evaluations, approvals, outcomes and ingestion."""
    families = (
        Accounts(store),
        Analytics(store),
        Calibration(store),
        Cases(store, outcomes),
        Dashboard(store),
        Events(store),
        Features(store),
        Insights(store),
        Keys(store),
        Learning(store),
        Live(store),
        Memory(store),
        Precedents(store),
        Retrieval(store),
        Rules(store),
        Simulations(store),
        Systems(store),
        Webhooks(store),
    )
    return [route for family in families for route in family.routes()]


def resource_routes(store: Store, outcomes: Outcomes, clock: Clock) -> list[web.RouteDef]:
    """The same, as the HTTP application takes them."""
    return wired(routes(store, outcomes), store, clock)
