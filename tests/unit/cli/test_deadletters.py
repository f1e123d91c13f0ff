"""Dead letters are shown whole, and redriven once, as they were, to where they came from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.support.command import callgate
from tests.support.planted import on, records

from callgate.events import topics
from callgate.log.port import Log, Outgoing, Record
from callgate.worker import deadletters

HEADERS = (("ce_type", b"callgate.turn.recorded.v9"), ("x", b"\xff"))


@pytest.fixture
def log(tmp_path: Path) -> str:
    """A log on which turns/2/0 and turns/2/1 have become dead letters; the second is older than any claim."""
    path = tmp_path / "log.db"
    now = time.time()

    async def work(log: Log) -> None:
        for offset, at in enumerate((now, now - topics.IDENTITY_WINDOW - 60)):
            record = Record("turns", 2, offset, b"key", b'{"a": "\x1b[2J"}', HEADERS, at)
            await log.publish([Outgoing("turns", 2, record.key, record.value, record.headers)])
            grave = deadletters.letter(
                record, reason="unknown version", attempts=3, service="proposer", subject="trn_1", died_at=now + offset
            )
            await log.publish([grave])

    on(path, work)
    return f"sqlite:///{path}"


def test_the_list_names_origin_reason_and_place(log: str) -> None:
    """Each dead letter shows where it came from, why it died, and the place by which it is known."""
    shown = callgate("deadletters", "list", "--json", CALLGATE_LOG=log).json()
    assert shown["total"] == 2
    newest, oldest = shown["deadletters"]
    assert (newest["place"], oldest["place"]) == ("2/1", "2/0")
    assert oldest["origin"] == "turns/2/0"
    assert (oldest["reason"], oldest["service"], oldest["attempts"]) == ("unknown version", "proposer", 3)
    assert "turns/2/0" in callgate("deadletters", "list", CALLGATE_LOG=log).out


def test_show_has_the_raw_value_and_steers_no_terminal(log: str) -> None:
    """The raw value and headers are shown, with what would steer a terminal written out."""
    ran = callgate("deadletters", "show", "2/0", CALLGATE_LOG=log)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "callgate.turn.recorded.v9" in ran.out
    assert callgate("deadletters", "show", "2/0", "--json", CALLGATE_LOG=log).json()["value_base64"]


def test_a_redrive_is_the_record_again_and_only_once(log: str, tmp_path: Path) -> None:
    """The raw record goes back to its own partition with its headers and a count, once, and again only if told so."""
    first = callgate("deadletters", "redrive", "2/0", CALLGATE_LOG=log)
    assert (first.code, "turns/2/2" in first.out) == (0, True)
    again = callgate("deadletters", "redrive", "2/0", CALLGATE_LOG=log)
    assert (again.code, "--again" in again.err) == (1, True)
    assert callgate("deadletters", "redrive", "--again", "2/0", CALLGATE_LOG=log).code == 0
    sent = [record for record in records(tmp_path / "log.db", "turns") if record.offset > 1]
    assert [(record.partition, record.key, record.value) for record in sent] == [(2, b"key", b'{"a": "\x1b[2J"}')] * 2
    assert all(record.headers[: len(HEADERS)] == HEADERS for record in sent)
    assert all(dict(record.headers)["callgate_redrive_count"] == b"1" for record in sent)
    listed = callgate("deadletters", "list", "--open", "--json", CALLGATE_LOG=log).json()["deadletters"]
    assert [letter["place"] for letter in listed] == ["2/1"]


def test_the_count_rises_with_each_death(log: str, tmp_path: Path) -> None:
    """A redriven record that dies again says how often it has been tried, and is redriven under its new place."""
    callgate("deadletters", "redrive", "2/0", CALLGATE_LOG=log)
    (sent,) = [record for record in records(tmp_path / "log.db", "turns") if record.offset > 1]
    grave = deadletters.letter(
        sent, reason="still unknown", attempts=1, service="proposer", subject="", died_at=time.time() + 9
    )

    async def bury(opened: Log) -> None:
        await opened.publish([grave])

    on(tmp_path / "log.db", bury)
    newest = callgate("deadletters", "list", "--json", CALLGATE_LOG=log).json()["deadletters"][0]
    assert (newest["place"], newest["tries"], newest["redriven"]) == ("2/2", 1, False)
    assert callgate("deadletters", "redrive", "2/2", CALLGATE_LOG=log).code == 0
    last = records(tmp_path / "log.db", "turns")[-1]
    assert [value for name, value in last.headers if name == "callgate_redrive_count"] == [b"2"]
    assert [value for name, value in last.headers if name == "callgate_redriven_from"] == [b"2/2"]


def test_what_is_older_than_any_claim_is_not_redriven(log: str, tmp_path: Path) -> None:
    """Past the identity window claims are forgotten, so a second effect could not be prevented: it is refused."""
    ran = callgate("deadletters", "redrive", "2/1", CALLGATE_LOG=log)
    assert (ran.code, "identity window" in ran.err) == (1, True)
    assert len(records(tmp_path / "log.db", "turns")) == 2


def test_redrive_all_takes_only_what_is_open(log: str) -> None:
    """--all takes what was not redriven yet, of one service if asked, and exits 1 if any of it was refused."""
    other = callgate("deadletters", "redrive", "--all", "--service", "executor", CALLGATE_LOG=log)
    assert (other.code, other.out) == (0, "Nothing to redrive.\n")
    results = {each["place"]: each["redriven"] for each in _all(log)}
    assert results == {"2/0": True, "2/1": False}
    assert [each["place"] for each in _all(log)] == ["2/1"]


def _all(log: str) -> list[dict[str, object]]:
    ran = callgate("deadletters", "redrive", "--all", "--json", CALLGATE_LOG=log)
    assert ran.code == 1
    found: list[dict[str, object]] = ran.json()
    return found


@pytest.mark.parametrize("arguments", [["redrive"], ["redrive", "--all", "2/0"], ["redrive", "9/9"], ["show", "x"]])
def test_a_place_must_be_one(log: str, arguments: list[str]) -> None:
    """A place that holds no dead letter, or none at all, is bad input."""
    assert callgate("deadletters", *arguments, CALLGATE_LOG=log).code == 2
