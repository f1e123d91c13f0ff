"""The topics on a real broker: laid out, looked over, mended, and never made less."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from tests.support.command import Ran, callgate
from tests.support.log_engines import all_leases, clear, take
from tests.support.processes import environment, running

from callgate.cli.opening import Place
from callgate.cli.play.custody import GROUPS, OPTIONAL_GROUPS
from callgate.clock import SystemClock
from callgate.control.view import ControlView
from callgate.events.topics import CATALOGUE
from callgate.failures import BadInput
from callgate.log.address import open_log
from callgate.log.kafka.administration import administration
from callgate.log.kafka.agreement import record
from callgate.log.kafka.cluster import agreed_partitions, apply, survey
from callgate.log.kafka.connection import client_options
from callgate.log.kafka.layout import desired
from callgate.log.kafka.names import Names
from callgate.log.port import Outgoing, Progress, Unit
from callgate.settings import KafkaSettings, TopicSettings

T = TypeVar("T")

N = 2

ALL_GROUPS = (*GROUPS, *OPTIONAL_GROUPS)
"""Every group that a log has topics for."""


class Site:
    """A prefix of its own on the session's broker."""

    def __init__(self, bootstrap: str) -> None:
        """Nothing is there yet."""
        self.bootstrap = bootstrap
        self.prefix = f"t{secrets.token_hex(6)}."
        self.names = Names(self.prefix)
        self.topic = TopicSettings(prefix=self.prefix, partitions=N)
        self.options = client_options(bootstrap, KafkaSettings())
        self.wanted = desired(self.topic, ALL_GROUPS)

    @property
    def place(self) -> Place:
        """As the command line knows it."""
        return Place(f"kafka://{self.bootstrap}", KafkaSettings(), self.topic)

    def callgate(self, *arguments: str, **settings: str) -> Ran:
        """A command on this log."""
        ours = {"CALLGATE_LOG": self.place.address, "CALLGATE_TOPIC_PREFIX": self.prefix}
        return callgate(*arguments, **(ours | settings))

    async def lay_out(self) -> None:
        """Apply."""
        await apply(self.options, self.names, self.wanted, dry_run=False)

    async def made_by_hand(self, name: str, partitions: int, **config: str) -> None:
        """A topic that an operator has made."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            settings = {key.replace("_", "."): value for key, value in config.items()}
            new = NewTopic(self.names.topic(name), partitions, 1, topic_configs=settings)
            answer = await admin.create_topics([new])
            assert [code for _, code, *_ in answer.topic_errors] == [0]
        finally:
            await admin.close()
        await self.shown(name, partitions)

    async def shown(self, name: str, partitions: int) -> None:
        """Wait until the broker shows a topic as the controller has it: that takes a moment."""
        clock = SystemClock()
        async with asyncio.timeout(30), administration(self.options, self.names) as looking:
            while True:
                seen = await looking.topics([name])
                if name in seen.led and seen.there[name].partitions == partitions:
                    return
                await clock.sleep(0.05)

    async def said(self) -> list[str]:
        """What the survey finds serious."""
        return [str(each) for each in await survey(self.options, self.names, self.wanted) if each.serious]


@pytest.fixture
def site(kafka: str) -> Iterator[Site]:
    """A place of its own, cleared up afterwards."""
    made = Site(kafka)
    yield made
    asyncio.run(clear(made.place.address, made.prefix))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Await it, between commands that have loops of their own."""
    return asyncio.run(work)


def test_applying_twice_changes_nothing_the_second_time(site: Site) -> None:
    """Everything is made once and N recorded once; the second apply finds nothing to do, and check nothing serious."""
    first = site.callgate("topics", "apply", "--partitions", str(N), "--json")
    assert first.code == 0
    assert len(first.json()["changes"]) == len(CATALOGUE) + len(ALL_GROUPS) + 1
    again = site.callgate("topics", "apply", "--json")
    assert (again.code, again.json()["changes"]) == (0, [])
    assert run(agreed_partitions(site.options, site.names)) == N
    assert run(site.said()) == []


def test_a_dry_run_changes_nothing(site: Site) -> None:
    """It says all that apply would do, and afterwards there is still nothing."""
    ran = site.callgate("topics", "apply", "--dry-run")
    assert ran.code == 0
    assert f"{len(site.wanted)} topics, N is 8" in ran.out
    assert all(topic.name in ran.out for topic in site.wanted)
    with pytest.raises(BadInput, match="topics apply"):
        run(agreed_partitions(site.options, site.names))


def test_what_an_operator_has_made_with_defaults_is_named_and_mended(site: Site) -> None:
    """Time stamps, retention and compaction that are not right are said in words, and apply puts them right."""

    async def by_hand() -> None:
        await site.made_by_hand("turns", N, retention_ms="1000")
        await site.made_by_hand("state.executor", N)
        await site.made_by_hand("actions.decided", N, cleanup_policy="compact", retention_bytes="1000")

    run(by_hand())
    said = run(site.said())
    for topic, setting in (
        ("turns", "message.timestamp.type is CreateTime"),
        ("turns", "retention.ms is 1000"),
        ("state.executor", "cleanup.policy is delete"),
        ("actions.decided", "cleanup.policy is compact"),
        ("actions.decided", "retention.bytes is 1000"),
    ):
        assert any(each.startswith(f"{topic}: {setting}") and "topics apply" in each for each in said), setting
    assert any("fleet" in each and "missing" in each for each in said)
    ran = site.callgate("topics", "apply", "--partitions", str(N))
    assert ran.code == 0
    assert "turns: message.timestamp.type from CreateTime to LogAppendTime" in ran.out
    assert run(site.said()) == []


def test_what_an_operator_keeps_longer_stays(site: Site) -> None:
    """Apply takes nothing away: longer retention, and settings that it has no opinion of, are left alone."""

    async def play() -> dict[str, str]:
        await site.made_by_hand("turns", N, retention_ms="-1", compression_type="gzip")
        await site.lay_out()
        async with administration(site.options, site.names) as admin:
            return dict((await admin.topics(["turns"])).there["turns"].config)

    config = run(play())
    assert config["retention.ms"] == "-1"
    assert config["compression.type"] == "gzip"
    assert config["message.timestamp.type"] == "LogAppendTime"


def test_another_number_of_partitions_is_refused_before_anything_changes(site: Site) -> None:
    """A topic whose partitions are not N stops apply, which names it and makes nothing."""
    run(site.made_by_hand("turns", N + 1))
    ran = site.callgate("topics", "apply", "--partitions", str(N))
    assert ran.code == 2
    assert f"turns: has {N + 1} partitions instead of {N}" in ran.err
    assert any("actions.proposed" in each and "missing" in each for each in run(site.said()))


def test_n_of_a_log_does_not_change(site: Site) -> None:
    """Who asks for another N than the log was made with is refused; who asks for none gets the log's."""
    run(site.lay_out())
    for asked in (("--partitions", "5"), ()):
        ran = site.callgate("topics", "apply", *asked, **({} if asked else {"CALLGATE_TOPIC_PARTITIONS": "5"}))
        assert ran.code == 2
        assert f"was made with {N} partitions, and 5 are asked for" in ran.err
    assert f"N is {N}: all as they should be" in site.callgate("topics", "apply").out


def test_nobody_works_on_a_log_that_is_not_laid_out(site: Site) -> None:
    """A service and a command that looks end with code 2 and name the way out; N that was never recorded counts too."""
    means = {"CALLGATE_BIGHUB_KEY": "k"}
    for arguments in (("run", "evaluator"), ("topics", "list"), ("actions", "list")):
        ran = site.callgate(*arguments, **means)
        assert ran.code == 2
        assert f"{site.prefix}turns" in ran.err
        assert "Run `callgate topics apply`" in ran.err

    async def half() -> None:
        for topic in site.wanted:
            await site.made_by_hand(topic.name, topic.partitions)

    run(half())
    ran = site.callgate("run", "evaluator", **means)
    assert ran.code == 2
    assert "`control` does not say" in ran.err


def test_a_service_refuses_to_start_where_a_topic_differs_from_n(site: Site) -> None:
    """N in control and the topics must agree: a topic that somebody has widened is named, and nothing starts."""

    async def widen() -> None:
        await site.lay_out()
        admin = AIOKafkaAdminClient(bootstrap_servers=site.bootstrap)
        await admin.start()
        try:
            await admin.create_partitions({site.names.topic("actions.finished"): NewPartitions(N + 1)})
        finally:
            await admin.close()
        await site.shown("actions.finished", N + 1)

    run(widen())
    ran = site.callgate("run", "evaluator", CALLGATE_BIGHUB_KEY="k")
    assert ran.code == 2
    assert f"N is {N}, but {site.prefix}actions.finished has {N + 1} partitions" in ran.err
    assert any(each.startswith("actions.finished: has") for each in run(site.said()))


def test_check_says_all_of_it(site: Site) -> None:
    """`callgate check` on Kafka ends with 1 and the findings while something serious is there, and without after."""
    means = {"CALLGATE_BIGHUB_KEY": "k", "CALLGATE_APPROVAL_TRUSTED": "true"}
    before = site.callgate("check", "--json", **means)
    assert before.code == 1
    assert any(each["grade"] == "failed" and "missing" in each["said"] for each in before.json())
    run(site.lay_out())
    after = site.callgate("check", "--json", **means)
    assert after.code == 0
    found = [each["said"] for each in after.json() if each["what"] == "log"]
    assert any(f"N is {N}" in each for each in found)
    assert any("one copy only" in each for each in found)


def test_the_record_of_n_stops_nobody(site: Site) -> None:
    """N in control is understood by whoever follows the switches: nothing is stopped or held by it."""

    async def play() -> tuple[bool, bool, int]:
        await site.lay_out()
        await record(site.options, site.names, N, SystemClock())
        log = await open_log(site.place.address, clock=SystemClock(), topic=site.topic)
        view = ControlView(log)
        try:
            await view.start()
            return view.ready, bool(view.switches.active or view.switches.unclear), view.switches.epoch
        finally:
            await view.close()
            await log.close()

    ready, anything, epoch = run(play())
    assert ready
    assert not anything
    assert epoch == 1


def test_two_applies_at_once_agree(site: Site) -> None:
    """Both end well, one log is there, and a third finds nothing to do."""

    async def both() -> int:
        await asyncio.gather(site.lay_out(), site.lay_out())
        return len(await apply(site.options, site.names, site.wanted, dry_run=False))

    assert run(both()) == 0


def test_commits_are_no_records_that_are_not_done(site: Site) -> None:
    """What transactions leave behind the last record counts for nobody; a record that nobody has done does."""

    async def work() -> None:
        await site.lay_out()
        log = await open_log(site.place.address, clock=SystemClock(), topic=site.topic)
        try:
            group = await log.join("evaluator", ("actions.proposed",))
            leases = await all_leases(group, N, 30)
            (lease,) = (each for each in leases if each.number == 0)
            # Both in one transaction, as units write them: its end stands behind them.
            outputs = tuple(Outgoing("actions.proposed", 0, b"k", each, ()) for each in (b"1", b"2"))
            await lease.commit(Unit(outputs=outputs))
            (first, _) = await take(lease, 2, 30)
            done = {"actions.proposed": Progress(first.offset + 1)}
            await lease.commit(Unit(progress=done))
        finally:
            await log.close()

    run(work())
    (found,) = (
        each
        for each in site.callgate("topics", "list", "--json").json()["topics"]
        if each["name"] == "actions.proposed"
    )
    assert found["ends"]["0"] == 3
    assert found["lag"]["evaluator"] == 1


def test_dev_lays_its_own_topics_out(site: Site, tmp_path: Path) -> None:
    """The development command makes its world; its local BIGHUB remembers beside the working directory."""
    env = environment(CALLGATE_LOG=site.place.address, CALLGATE_TOPIC_PREFIX=site.prefix, CALLGATE_TOPIC_PARTITIONS="2")
    said = tmp_path / "said"
    tools = "callgate.cli.play.recorded:toolbox"

    with running("dev", "--tools", tools, env=env, log=said, cwd=tmp_path) as process:
        until = time.monotonic() + 60
        while b"Ctrl-C stops" not in said.read_bytes() or b"were laid out, with 2" not in said.read_bytes():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.1)
        process.terminate()
        assert process.wait(40) == 0
    assert run(agreed_partitions(site.options, site.names)) == N
    assert list(tmp_path.glob("callgate-*.sandbox"))
