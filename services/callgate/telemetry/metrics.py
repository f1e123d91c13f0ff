"""What is counted, behind typed methods: a service can neither mistype a metric nor invent a label.

Each `Metrics` has a registry of its own, so that several services, or tests, in one process do not meet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from callgate.settings import TelemetrySettings
from callgate.telemetry import catalogue
from callgate.telemetry.catalogue import Metric

OTHER = "other"
"""The label of tools, tenants and domains that have none of their own."""

DOMAINS = 32
"""Domains that get a label of their own, first come first served: there is no list of them in the settings."""

AGENTS = 32
"""Agents that get a label of their own in the counting of tokens, first come first served."""


class Metrics:
    """The metrics of one process. Tools and tenants beyond the settings' lists are counted as `other`."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self.registry = CollectorRegistry()
        self._tools = frozenset(settings.tools)
        self._tenants = frozenset(settings.tenants)
        self._domains: set[str] = set()
        self._agents: set[str] = set()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in catalogue.CATALOGUE:
            self._register(metric)
        # Finding a labelled child costs four times its increment; the labels are bounded, so the cache is too.
        self._counter = lru_cache(maxsize=4096)(self._find_counter)
        self._histogram = lru_cache(maxsize=1024)(self._find_histogram)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def worker(self, service: str) -> WorkerMetrics:
        """The part that a worker counts for one service."""
        return WorkerMetrics(self, service)

    def proposed(self, fault: str, tool: str, domain: str | None, tenant: str) -> None:
        """An action was proposed; `fault` is its code, or empty."""
        self.count(catalogue.PROPOSED, fault, *self._bounded(tool, domain, tenant))

    def decided(self, verdict: str, tool: str, domain: str | None, tenant: str) -> None:
        """A decision was made. Call it once per decision, not per delivery."""
        self.count(catalogue.DECIDED, verdict, *self._bounded(tool, domain, tenant))

    def finished(self, status: str, via: str, tool: str, domain: str | None, tenant: str) -> None:
        """An action ended."""
        self.count(catalogue.FINISHED, status, via, *self._bounded(tool, domain, tenant))

    def doubted(self, tool: str, domain: str | None, tenant: str) -> None:
        """A start's end is unknown."""
        self.count(catalogue.DOUBTED, *self._bounded(tool, domain, tenant))

    def refused_transition(self, state: str, step: str) -> None:
        """An event came that the table of states does not allow."""
        self.count(catalogue.REFUSED, state, step)

    def started(self, added: float) -> None:
        """A tool was started; `added` is the latency that Callgate added, in seconds."""
        self.observe(catalogue.ADDED, max(0.0, added))

    def tool_ran(self, tool: str, seconds: float) -> None:
        """A tool came to an end or to its limit."""
        self.observe(catalogue.TOOL, seconds, self._tool(tool))

    def bighub_answered(self, request: str, outcome: str, seconds: float) -> None:
        """BIGHUB was asked; `outcome` is from a fixed set, never the server's text."""
        self.observe(catalogue.BIGHUB, seconds, request, outcome)

    def model_answered(self, outcome: str, seconds: float) -> None:
        """The model was asked; `outcome` is from a fixed set, never the server's text."""
        self.observe(catalogue.MODEL, seconds, outcome)

    def tokens(self, taken: int, given: int, agent: str, tenant: str) -> None:
        """An answer of the model's was paid for. Call it once per answer."""
        labels = (self._agent(agent), tenant if tenant in self._tenants else OTHER)
        self.count(catalogue.TOKENS, "input", *labels, n=taken)
        self.count(catalogue.TOKENS, "output", *labels, n=given)

    def approval_resolved(self, resolution: str, waited: float) -> None:
        """An approval ended after `waited` seconds."""
        self.observe(catalogue.APPROVAL, max(0.0, waited), resolution)

    def vote_judged(self, verification: str) -> None:
        """The entrance has said what a vote is worth: trusted, signed or refused."""
        self.count(catalogue.VOTES, verification)

    def reported(self, kind: str, n: int = 1) -> None:
        """BIGHUB accepted `n` events or outcomes."""
        self.count(catalogue.REPORTED, kind, n=n)

    def notified(self, channel: str, outcome: str) -> None:
        """A channel was given a notice; `outcome` is sent, failed or refused."""
        self.count(catalogue.NOTIFIED, channel, outcome)

    def count(self, metric: Metric, *labels: str, n: float = 1) -> None:
        """Add to a counter of the catalogue."""
        self._counter(metric.name, labels).inc(n)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a histogram of the catalogue."""
        self._histogram(metric.name, labels).observe(value)

    def watch(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Show a gauge whose value is read whenever it is asked for; a later call replaces `read`."""
        gauge = self._gauges[metric.name]
        (gauge.labels(*labels) if labels else gauge).set_function(read)

    def _bounded(self, tool: str, domain: str | None, tenant: str) -> tuple[str, str, str]:
        return self._tool(tool), self._domain(domain), tenant if tenant in self._tenants else OTHER

    def _tool(self, tool: str) -> str:
        return tool if tool in self._tools else OTHER

    def _domain(self, domain: str | None) -> str:
        if domain is None:
            return ""
        if domain not in self._domains:
            if len(self._domains) >= DOMAINS:
                return OTHER
            self._domains.add(domain)
        return domain

    def _agent(self, agent: str) -> str:
        if agent not in self._agents:
            if len(self._agents) >= AGENTS:
                return OTHER
            self._agents.add(agent)
        return agent

    def _register(self, metric: Metric) -> None:
        if metric.kind == "counter":
            self._counters[metric.name] = Counter(metric.name, metric.help, metric.labels, registry=self.registry)
        elif metric.kind == "gauge":
            self._gauges[metric.name] = Gauge(metric.name, metric.help, metric.labels, registry=self.registry)
        else:
            self._histograms[metric.name] = Histogram(
                metric.name, metric.help, metric.labels, registry=self.registry, buckets=metric.buckets
            )

    def _find_counter(self, name: str, labels: tuple[str, ...]) -> Counter:
        return self._counters[name].labels(*labels) if labels else self._counters[name]

    def _find_histogram(self, name: str, labels: tuple[str, ...]) -> Histogram:
        return self._histograms[name].labels(*labels) if labels else self._histograms[name]


class WorkerMetrics:
    """What a worker counts; the service's name is filled in."""

    def __init__(self, metrics: Metrics, service: str) -> None:
        self._metrics = metrics
        self._service = service

    def handled(self, outcome: str, seconds: float) -> None:
        """An attempt ended: done, retried, parked or dead."""
        self._metrics.count(catalogue.HANDLED, self._service, outcome)
        self._metrics.observe(catalogue.HANDLING, seconds, self._service)

    def failed(self, failure: str) -> None:
        """An attempt failed; `failure` is the name of the exception's class."""
        self._metrics.count(catalogue.FAILURES, self._service, failure)

    def committed(self, effects: int, seconds: float) -> None:
        """A unit with so many handlers' effects became visible."""
        self._metrics.count(catalogue.UNITS, self._service, n=effects)
        self._metrics.observe(catalogue.COMMITS, seconds, self._service)

    def lease_lost(self, how: str) -> None:
        """A lease ended as `lost`, or with a commit of `unknown` end."""
        self._metrics.count(catalogue.LEASES_LOST, self._service, how)

    def watch(self, metric: Metric, read: Callable[[], float]) -> None:
        """Show one of the worker's gauges."""
        self._metrics.watch(metric, read, self._service)
