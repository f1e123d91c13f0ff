"""Votes that must not count, against the whole gate: none changes a result, and whoever looks sees each and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.key_server import key_server
from tests.support.log_engines import Engine
from tests.support.serving import everything, until, write
from tests.support.signing_values import IDENTITIES, LEE, PROVIDER_KEY, SAM, document, id_vote, signed_as
from tests.support.small_gate import REVIEW, SmallGate, small_gate, statuses
from tests.support.whole import TIMEOUT_SECONDS, message

from callgate.approvals.state import TALLY, decode_tally
from callgate.approvers.keys import revoked
from callgate.approvers.signing import SigningKey, make_key
from callgate.cli.reading import all_questions
from callgate.cli.votes import votes_of
from callgate.client.shapes import ended
from callgate.clock import SystemClock
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted, BallotCast
from callgate.events.routing import ballot_partition
from callgate.events.turns import TurnOrigin
from callgate.tools.toolbox import Call, Toolbox

KIM, BOT, ZOE, OLD = (make_key((name,)) for name in ("kim", "bot", "zoe", "lee"))
"""Keys of the requester, of the agent, of somebody who is not asked, and of lee before it was lost."""

ANN = "ann@example.com"
POLICY = f"""
version = 1
[default]
approvers = ["lee", "sam", "{ANN}", "kim", "bot"]
deadline_seconds = 120
"""
JUNK = 500

Making = Callable[[ApprovalVoted], ApprovalVoted]
"""From the vote that somebody wants to count to what they send for it."""


def now() -> float:
    """The time of the signatures."""
    return SystemClock().now()


def named(vote: ApprovalVoted, **changes: Any) -> ApprovalVoted:
    """The vote with changes, as whoever can write to the topic can make them."""
    return msgspec.structs.replace(vote, **changes)


def signed(key: SigningKey, vote: ApprovalVoted, *, at: float = 0.0, **changes: Any) -> ApprovalVoted:
    """The vote with a signature of its owner that stands, though perhaps not for what was asked."""
    return key.signed(named(vote, approver=key.approvers[0], **changes), now() + at)


def claimed(key: SigningKey, vote: ApprovalVoted, headers: Mapping[str, Any] | None = None, **claims: Any) -> Any:
    """A vote with a signature by hand, that says these things beside what it should."""
    return signed_as(vote, key, headers, **{"iat": int(now()), "exp": int(now()) + 600, **claims})


def token(issuer: str, vote: ApprovalVoted, **claims: Any) -> ApprovalVoted:
    """A vote of ann's with an id token, that says these things beside what it should."""
    said = {"iss": issuer, "email": ANN, "iat": int(now()), "exp": int(now()) + 600, **claims}
    return id_vote(named(vote, approver=ANN), **said)


def altered(vote: ApprovalVoted) -> ApprovalVoted:
    """Lee's opposite answer, turned round on its way."""
    other = "reject" if vote.answer == "approve" else "approve"
    return named(signed(LEE, vote, answer=other), answer=vote.answer)


def replayed(vote: ApprovalVoted) -> ApprovalVoted:
    """Lee's answer to another question about the very same call."""
    return named(signed(LEE, vote, approval_id=vote.approval_id[:-1] + "z"), approval_id=vote.approval_id)


def attacks(issuer: str) -> dict[str, tuple[Making, str]]:
    """What is sent while the question is open, and why it must not count."""
    forged, idp = make_key(("lee",)), partial(token, issuer)
    return {
        "unsigned": (lambda vote: vote, "the vote is not signed"),
        "forged": (partial(signed, forged), "the signature's key is not known"),
        "forged under a known key's name": (
            lambda vote: claimed(forged, vote, {"kid": LEE.kid}),
            "the signature is not right",
        ),
        "altered": (altered, "another vote: answer differs"),
        "replayed": (replayed, "another vote: approval_id differs"),
        "in another's name": (lambda vote: claimed(LEE, named(vote, approver="sam")), "the key is not the voter's"),
        "expired": (partial(signed, LEE, at=-9000.0), "had expired"),
        "from the future": (partial(signed, LEE, at=9000.0), "is from the future"),
        "for another installation": (lambda vote: claimed(LEE, vote, aud="staging"), "for another installation"),
        "revoked": (partial(signed, OLD), "the key was revoked before the vote came"),
        "about other arguments": (partial(signed, LEE, digest="f" * 64), "about other arguments"),
        "by the requester": (partial(signed, KIM), "nobody answers their own request"),
        "by the agent": (partial(signed, BOT), "nobody answers their own request"),
        "by somebody else": (partial(signed, ZOE), "not entitled"),
        "token of a forger": (
            lambda vote: idp(vote, private=ec.generate_private_key(ec.SECP256R1())),
            "the signature is not right",
        ),
        "token for another vote": (lambda vote: idp(vote, nonce="n-1"), "nonce is not that of this vote"),
        "token for another client": (lambda vote: idp(vote, aud="shop"), "for another client"),
        "token of another issuer": (partial(token, "https://id.example.org"), "of another issuer"),
        "token of somebody else": (lambda vote: idp(vote, email="eve@example.com"), "is not the voter"),
        "token without a verified email": (lambda vote: idp(vote, email_verified=False), "not verified"),
        "expired token": (lambda vote: idp(vote, iat=int(now()) - 9000, exp=int(now()) - 8000), "had expired"),
    }


@dataclass
class Bench:
    """A gate that takes proven votes only, and what its one tool did."""

    gate: SmallGate
    issuer: str
    effects: Counter[str] = field(default_factory=Counter)
    questions: dict[str, ApprovalRequested] = field(default_factory=dict)
    """By session."""

    @property
    def partitions(self) -> int:
        """Of the log."""
        return self.gate.log.partitions

    def turn(self, session: str) -> str:
        """The key of a session's one turn."""
        return self.gate.client.turn_key(self.origin(session))

    def origin(self, session: str) -> TurnOrigin:
        """Whose turn it is."""
        return TurnOrigin(tenant="acme", session=session, turn="1", agent="bot", requester="kim")

    async def ask(self, *sessions: str) -> None:
        """Have the same call proposed in each session, and wait for what people are asked."""
        for session in sessions:
            await self.gate.client.record(self.origin(session), message(("pay", {"n": 5})))

        async def asked() -> bool:
            events = await everything(self.gate.log, topics.BALLOTS)
            found = [event for event in events if isinstance(event, ApprovalRequested)]
            self.questions.update({event.action.ref.session: event for event in found})
            return self.questions.keys() >= set(sessions)

        await until(asked)

    def wish(self, session: str, answer: Any, **changes: Any) -> ApprovalVoted:
        """Lee's vote as it would have to be, but for a signature."""
        asked = self.questions[session]
        digest = asked.action.ref.digest
        vote = ApprovalVoted(vote_id="v", approval_id=asked.approval_id, digest=digest, answer=answer, approver="lee")
        return named(vote, **changes)

    async def answer(self, session: str, answer: str) -> None:
        """Who is entitled says so: sam with his key, ann with an id token. Twice, as one who is not sure."""
        vote = self.wish(session, answer, vote_id="good")
        proven = signed(SAM, vote) if answer == "approve" else token(self.issuer, vote)
        await write(self.gate.log, proven, proven)

    async def judged(self, count: int) -> None:
        """Until so many votes have been looked at."""

        async def there() -> bool:
            events = await everything(self.gate.log, topics.BALLOTS)
            return len({event.origin for event in events if isinstance(event, BallotCast)}) >= count

        await until(there)

    async def refusals(self) -> dict[str, set[str]]:
        """Why votes did not count, by session, as `callgate approvals show` has it."""
        log = self.gate.log
        tallies = {
            key.removeprefix(TALLY): decode_tally(value)
            async for _, key, value in log.tables("approvals")
            if key.startswith(TALLY)
        }
        return {
            question.request.action.ref.session: {
                vote["refusal"] for vote in votes_of(question, tallies.get(identifier)) if vote["refusal"]
            }
            for identifier, question in (await all_questions(log)).items()
        }

    async def ends(self, sessions: Mapping[str, str]) -> dict[str, str]:
        """How each session's call ended."""
        found: dict[str, str] = {}
        for session in sessions:
            completed = await self.gate.client.wait(self.turn(session), 60)
            assert completed is not None, session
            (found[session],) = statuses(ended(completed))
        return found


def toolbox_of(effects: Counter[str]) -> Toolbox:
    """The one tool, which leaves a mark."""
    box = Toolbox()

    @box.tool(timeout_seconds=TIMEOUT_SECONDS)
    def pay(n: int, *, call: Call) -> int:
        effects[call.action_id] += 1
        return n

    return box


def key_file(folder: Path) -> str:
    """The keys of everybody, of which one was revoked."""
    content = document(LEE, SAM, KIM, BOT, ZOE, OLD)
    path = folder / "approvers.jwks"
    path.write_bytes(revoked(content, OLD.kid, now() - 60, str(path)))
    return str(path)


@asynccontextmanager
async def attacked(engine: Engine, folder: Path) -> AsyncIterator[Bench]:
    """A gate whose votes must be signed, or be covered by an id token."""
    policy, effects = folder / "approvals.toml", Counter[str]()
    policy.write_text(POLICY)
    async with (
        key_server() as server,
        small_gate(
            folder,
            toolbox_of(effects),
            policy=REVIEW,
            log=await engine.open(),
            approval_policy=str(policy),
            trusted=False,
            keys=key_file(folder),
            oidc_issuer=server.issuer,
            oidc_client=IDENTITIES.client,
        ) as gate,
    ):
        server.provide(PROVIDER_KEY)
        yield Bench(gate, server.issuer, effects)


async def attack_before(bench: Bench, session: str, digest: str) -> int:
    """What a requester who knows every id can send before the call is even proposed; how many votes those are."""
    action = ids.action_id(bench.turn(session), 0, 0, "c0")
    where = ballot_partition("acme", "pay", bench.partitions)
    approval = ids.approval_id(where, action, 1, 0, "action")
    vote = ApprovalVoted(vote_id="early", approval_id=approval, digest=digest, answer="approve", approver="lee")
    early = vote, signed(KIM, vote), signed(LEE, vote, digest="f" * 64)
    await write(bench.gate.log, *early)
    return len(early)


async def attack_open(bench: Bench, makings: Mapping[str, Making], wanted: Mapping[str, str]) -> int:
    """Each attack twice, and a flood under lee's name at a question of its own."""
    votes = [
        make(bench.wish(session, "approve" if wanted[session] == "reject" else "reject"))
        for session, make in makings.items()
    ]
    flood = [bench.wish("flooded", "approve", vote_id=f"junk {number}") for number in range(JUNK)]
    await write(bench.gate.log, *votes, *votes, *flood)
    return 2 * len(votes) + len(flood)


async def attack_after(bench: Bench, wanted: Mapping[str, str]) -> None:
    """Somebody entitled, whose vote would have counted, says the opposite when all is said."""
    late = [
        signed(LEE, bench.wish(session, "approve" if answer == "reject" else "reject", vote_id="late"))
        for session, answer in wanted.items()
    ]
    await write(bench.gate.log, *late)

    async def counted() -> bool:
        refusals = await bench.refusals()
        return all(any("already" in why for why in refusals[session]) for session in wanted)

    await until(counted)


@pytest.mark.parametrize("engine", ["plain", "hostile 1", "kafka"], indirect=True)
async def test_an_attack_changes_no_result_and_is_seen(engine: Engine, tmp_path: Path) -> None:
    """Each attack wants the opposite of what the entitled say then, about a call that all have in common."""
    async with attacked(engine, tmp_path) as bench:
        log, sent = bench.gate.log, attacks(bench.issuer)
        wanted = {session: "reject" if place % 2 else "approve" for place, session in enumerate(sent)}
        wanted |= {"flooded": "reject", "forestalled": "reject"}

        await bench.ask("flooded")
        cast = await attack_before(bench, "forestalled", bench.questions["flooded"].action.ref.digest)
        await bench.ask(*sent, "forestalled")
        cast += await attack_open(bench, {session: make for session, (make, _) in sent.items()}, wanted)
        await bench.judged(cast)
        assert await everything(log, topics.RESOLVED) == []
        assert not bench.effects

        for session, answer in wanted.items():
            await bench.answer(session, answer)
        ends = {session: {"approve": "executed", "reject": "rejected"}[answer] for session, answer in wanted.items()}
        assert await bench.ends(wanted) == ends
        await attack_after(bench, wanted)

        refusals = await bench.refusals()
        for session, (_, why) in sent.items():
            assert any(why in each for each in refusals[session]), (session, why, refusals[session])
        early = " | ".join(sorted(refusals["forestalled"]))
        assert all(why in early for why in ("not signed", "nobody answers their own request", "other arguments")), early
        resolved = await everything(log, topics.RESOLVED)
        by = Counter(event.approvers for event in resolved if isinstance(event, ApprovalResolved))
        assert by == Counter({"approve": ("sam",), "reject": (ANN,)}[answer] for answer in wanted.values())
        runs = {bench.questions[session].action.ref.id: 1 for session, answer in wanted.items() if answer == "approve"}
        assert bench.effects == runs
        assert await everything(log, topics.DEADLETTERS) == []
