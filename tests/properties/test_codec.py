"""The codec loses nothing, refuses what it does not know, and fails in one way only."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.event_values import any_event, events, json_values, kinds, text

from callgate.events import topics
from callgate.events.codec import MAX_RECORD_BYTES, REGISTRY, TooLarge, Undecodable, decode, encode, expect
from callgate.events.event import Event

_SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@_SLOW
@given(any_event(), st.floats(0, 4e9))
def test_every_event_survives_the_log(event: Event, time: float) -> None:
    """What is encoded is decoded to the same event, with the same id, type, source, time and trace."""
    value, headers = encode(event, source="proposer/1", time=time, traceparent=_TRACE)
    envelope = decode(value, headers)
    again, _ = encode(envelope.event, source="proposer/1", time=time)
    assert type(envelope.event) is type(event)
    assert again == value
    assert envelope.id == event.identity() == envelope.event.identity()
    assert envelope.source == "proposer/1"
    assert envelope.time == pytest.approx(time, abs=1e-3)
    assert envelope.traceparent == _TRACE


@_SLOW
@given(kinds, st.data())
def test_unknown_fields_are_ignored(kind: type[Event], data: st.DataObject) -> None:
    """A field that a later version adds changes nothing for this one."""
    event = data.draw(events(kind))
    value, headers = encode(event, source="s", time=0.0)
    fields: dict[str, Any] = dict(msgspec.json.decode(value, type=dict[str, msgspec.Raw]))
    fields["a_field_of_the_future"] = data.draw(json_values)
    envelope = decode(msgspec.json.encode(fields), headers)
    assert encode(envelope.event, source="s", time=0.0)[0] == value


@given(kinds, st.integers(2, 99))
def test_unknown_versions_are_refused(kind: type[Event], version: int) -> None:
    """A version that this reader does not know is refused, even where its fields would fit."""
    later = f"{kind.TYPE.rsplit('.', 1)[0]}.v{version}"
    with pytest.raises(Undecodable, match="unknown event type or version"):
        decode(b"{}", [("ce_type", later.encode())])


_header_names = st.sampled_from(["ce_type", "ce_id", "ce_time", "ce_source", "traceparent", "x"])
_type_names = st.sampled_from([name.encode() for name in sorted(REGISTRY)])
_times = st.sampled_from([b"9999-12-31T23:59:59", b"0001-01-01", b"2026-11-21T05:00:00Z"])
_header_values = st.one_of(st.binary(max_size=40), _type_names, _times)


@_SLOW
@given(
    st.none() | st.binary(max_size=300) | json_values.map(orjson.dumps),
    st.lists(st.tuples(_header_names, _header_values), max_size=5),
    _type_names,
)
def test_decoding_is_total(value: bytes | None, headers: list[tuple[str, bytes]], kind: bytes) -> None:
    """Whatever the bytes and headers are, the outcome is an envelope or Undecodable."""
    for given_headers in (headers, [*headers, ("ce_type", kind)]):
        with suppress(Undecodable):
            assert decode(value, given_headers).id


@_SLOW
@given(any_event(), st.integers(0, 2**16), st.integers(0, 255))
def test_a_damaged_record_is_read_or_refused(event: Event, place: int, byte: int) -> None:
    """One wrong byte, or a cut-off, never escapes as anything but Undecodable."""
    value, headers = encode(event, source="s", time=0.0)
    at = place % max(1, len(value))
    for damaged in (value[:at] + bytes([byte]) + value[at + 1 :], value[:at]):
        with suppress(Undecodable):
            assert isinstance(decode(damaged, headers).event, type(event))


@pytest.mark.parametrize("kind", [REGISTRY[name] for name in sorted(REGISTRY)], ids=sorted(REGISTRY))
def test_deep_nesting_is_refused(kind: type[Event]) -> None:
    """A record nested deeper than the parser's stack is undecodable, and no crash."""
    depth = 100_000
    value = b'{"x":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(Undecodable):
        decode(value, [("ce_type", kind.TYPE.encode())])


def test_a_tombstone_is_undecodable() -> None:
    """A record without a value is no event."""
    with pytest.raises(Undecodable, match="without a value"):
        decode(None, [("ce_type", b"callgate.control.changed.v1")])


def test_a_record_without_a_type_is_undecodable() -> None:
    """Without ce_type nobody guesses what a record is."""
    with pytest.raises(Undecodable, match="ce_type"):
        decode(b"{}", [])


def test_a_refusal_does_not_quote_the_content() -> None:
    """What can't be read may be secret, and the refusal is logged."""
    with pytest.raises(Undecodable) as refusal:
        decode(b'{"vote_id": 7, "approver": "hunter2"}', [("ce_type", b"callgate.approval.voted.v1")])
    assert "hunter2" not in str(refusal.value)


def test_an_event_over_the_limit_is_refused() -> None:
    """An event that no broker would take does not enter a unit."""
    kind = REGISTRY["callgate.control.changed.v1"]
    fields = {"kind": "stop", "changed_by": "x", "changed_at": 0.0, "reason": "y" * MAX_RECORD_BYTES}
    with pytest.raises(TooLarge):
        encode(msgspec.convert(fields, kind), source="s", time=0.0)


@given(any_event(), st.sampled_from(topics.CATALOGUE))
@_SLOW
def test_a_topic_takes_its_own_events_only(event: Event, topic: topics.Topic) -> None:
    """An event on a topic that does not carry it is refused, whoever wrote it there."""
    envelope = decode(*encode(event, source="s", time=0.0))
    if type(event) in topic.events:
        assert expect(envelope, topic.events) is envelope.event
    else:
        with pytest.raises(Undecodable, match="does not belong"):
            expect(envelope, topic.events)


@given(text)
def test_a_header_time_that_is_no_time_is_zero(garbage: str) -> None:
    """A writer's clock is information only: a bad one makes no record unreadable."""
    value = b'{"kind": "stop", "changed_by": "x", "changed_at": 0.0}'
    headers = [("ce_type", b"callgate.control.changed.v1"), ("ce_time", garbage.encode())]
    assert isinstance(decode(value, headers).time, float)


def test_a_null_is_told_from_nothing() -> None:
    """A tool that returned null has an output; one that never ran has none."""
    kind = REGISTRY["callgate.approval.voted.v1"]
    fields = {"vote_id": "v", "approval_id": "apr_000_x", "digest": "0" * 64, "answer": "respond", "approver": "kim"}
    with_null, without = (
        msgspec.convert(fields | {"response": msgspec.Raw(b"null")}, kind),
        msgspec.convert(fields, kind),
    )
    for event, expected in ((with_null, msgspec.Raw(b"null")), (without, None)):
        read = decode(*encode(event, source="s", time=0.0)).event
        assert msgspec.structs.asdict(read)["response"] == expected
