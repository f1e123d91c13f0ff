"""Notices and their renderings: what people need, nothing secret, and nothing that steers a reader."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from tests.support.approval_values import ACTION, APPROVAL, DEADLINE, NOW, cast, deadline, proposed, question, vote

from callgate.events import ids
from callgate.events.approvals import ApprovalEscalated, ApprovalReminded, ApprovalResolved
from callgate.notifier.notice import ARGUMENTS_MOST, NAMES_MOST, Notice, notice_of, plain
from callgate.notifier.rendering import mail, signed_headers, slack_body, webhook_body

ROOT = Path(__file__).resolve().parents[3]
REF = proposed().ref


def _notice(**action: object) -> Notice:
    found = notice_of(question(action=proposed(**action), eligible=("lee", "sam"), quorum=2))
    assert found is not None
    return found


def test_a_question_says_what_is_asked_and_of_whom() -> None:
    """Tool, agent, requester, arguments, reason, people, deadline, and the command that shows the rest."""
    notice = _notice(target="acct-7", risk="high", value=12.5)
    assert (notice.kind, notice.at, notice.until, notice.tenant) == ("requested", NOW, DEADLINE, "acme")
    assert notice.subject == "Approval needed: pay of bot"
    facts = notice.facts
    assert (facts["for"], facts["target"], facts["risk"], facts["value"]) == ("kim", "acct-7", "high", "12.5")
    assert (facts["approvers"], facts["needed"], facts["until"]) == ("lee, sam", "2 of them", "2023-11-14 22:14:20Z")
    assert facts["show"] == f"callgate approvals show {ids.short(APPROVAL)}"
    assert facts["action"] == ACTION


def test_sensitive_arguments_are_masked() -> None:
    """What a tool declares as sensitive, and what is so everywhere, is a star in every channel."""
    notice = _notice(arguments=msgspec.Raw(b'{"amount":5,"pin":"1234","note":"hush"}'), sensitive=("note",))
    assert orjson.loads(notice.facts["arguments"]) == {"amount": 5, "pin": "***", "note": "***"}
    for shown in (webhook_body(notice), slack_body(notice), mail(notice, "a@b.c", ("d@e.f",)).as_bytes()):
        assert b"1234" not in shown
        assert b"hush" not in shown


def test_what_cannot_be_looked_through_is_masked_whole() -> None:
    """Arguments that are no JSON are not shown, whatever stands in them."""
    assert _notice(arguments=msgspec.Raw(b'{"pin": "12')).facts["arguments"] == "***"


def test_nothing_is_endless() -> None:
    """Large arguments, long texts and long lists of people are cut, and say so."""
    notice = _notice(arguments=msgspec.Raw(orjson.dumps({"n": "x" * 100_000})), target="y" * 100_000)
    assert len(notice.facts["arguments"]) == ARGUMENTS_MOST + 1
    assert notice.facts["target"].endswith("…")
    many = notice_of(question(eligible=tuple(f"p{place}" for place in range(NAMES_MOST + 3))))
    assert many is not None
    assert many.facts["approvers"].endswith("and 3 more")


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\u202eb", "a\u200bb", "a\x1b[2Jb", "a\ud800b"])
def test_no_text_steers_its_reader(text: str) -> None:
    """Line ends, turning of the writing, hidden and control characters are written out."""
    assert plain(text).isprintable()


def test_a_subject_cannot_add_a_header() -> None:
    """A tool's name with a line end stays within the mail's subject."""
    ref = msgspec.structs.replace(REF, tool="pay\r\nBcc: eve@evil.example")
    notice = notice_of(question(action=proposed(ref=ref)))
    assert notice is not None
    sent = mail(notice, "gate@acme.example", ("ops@acme.example",))
    assert sent["Bcc"] is None
    assert sent["To"] == "ops@acme.example"


def test_slack_mentions_nobody() -> None:
    """What a model writes can neither call a channel, nor link, nor end its block."""
    body = orjson.loads(slack_body(_notice(target="<!channel> ``` <http://evil|good> & *")))
    assert "<!" not in body["text"]
    assert "<http" not in body["text"]
    assert body["text"].count("```") == 2


def test_slack_finds_no_address_in_a_fact() -> None:
    """Slack makes a link of every bare address it finds: it is told not to look, and what strangers say is code."""
    body = orjson.loads(slack_body(_notice(target="http://evil.example/approve *now*", requester="www.evil.example")))
    assert body["parse"] == "none"
    lines = [line for line in body["text"].splitlines() if "evil" in line]
    assert lines == ["for: `www.evil.example`", "target: `http://evil.example/approve *now*`"]


def test_reminders_levels_and_ends_are_notices_too() -> None:
    """Each says which it is; the end is told however late, the others not after the deadline."""
    reminded = notice_of(ApprovalReminded(approval_id=APPROVAL, action=REF, ordinal=2, deadline=9.0, reminded_at=5.0))
    level = notice_of(
        ApprovalEscalated(approval_id=APPROVAL, action=REF, level=1, eligible=("ann",), deadline=9.0, escalated_at=6.0)
    )
    end = notice_of(
        ApprovalResolved(
            approval_id=APPROVAL,
            action=REF,
            resolution="rejected",
            approvers=("lee",),
            comment="no",
            requested_at=1.0,
            resolved_at=7.0,
        )
    )
    assert reminded is not None
    assert level is not None
    assert end is not None
    assert (reminded.kind, reminded.at, reminded.until, reminded.facts["reminder"]) == ("reminded", 5.0, 9.0, "2")
    assert (level.kind, level.at, level.until, level.facts["approvers"]) == ("escalated", 6.0, 9.0, "ann")
    assert (end.kind, end.until, end.facts["resolution"], end.facts["comment"]) == ("resolved", None, "rejected", "no")


def test_votes_are_no_news() -> None:
    """Ballots, votes and moments tell nobody anything."""
    assert [notice_of(event) for event in (cast(), vote(), deadline())] == [None, None, None]


def test_the_signature_is_over_timestamp_and_body() -> None:
    """A receiver that computes it in its own way finds the same; another time or body gives another."""
    notice = _notice()
    body = webhook_body(notice)
    headers = signed_headers(notice, body, "s" * 16, 1234.9)
    expected = hmac.new(b"s" * 16, b"1234." + body, hashlib.sha256).hexdigest()
    assert headers["Callgate-Signature"] == f"v1={expected}"
    assert (headers["Callgate-Timestamp"], headers["Callgate-Delivery"]) == ("1234", notice.id)
    assert signed_headers(notice, body, "s" * 16, 1235.0)["Callgate-Signature"] != headers["Callgate-Signature"]


def test_the_manual_shows_how_to_verify() -> None:
    """The receiver's code in the manual takes what we send, and neither another body nor an old one."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs/notifications.md").read_text(), re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)  # noqa: S102 - our own manual
    body = webhook_body(_notice())
    headers = dict(signed_headers(_notice(), body, "s" * 16, time.time()))
    assert names["authentic"](headers, body, "s" * 16)
    assert not names["authentic"](headers, body + b" ", "s" * 16)
    old = dict(signed_headers(_notice(), body, "s" * 16, time.time() - 600))
    assert not names["authentic"](old, body, "s" * 16)


def test_a_repeat_is_the_same_to_the_byte() -> None:
    """The same event gives the same body, text and mail, so that whoever gets it twice can tell."""
    first, second = _notice(), _notice()
    assert webhook_body(first) == webhook_body(second)
    assert slack_body(first) == slack_body(second)
    mails = [mail(each, "a@b.c", ("d@e.f",)) for each in (first, second)]
    assert mails[0].as_bytes() == mails[1].as_bytes()
    assert mails[0]["Message-ID"] == f"<{first.id}@callgate>"
