"""The entrance for votes: which of them are believed, and as whose.

The operator says which entrance it is. *Trusted*: whoever can write to the topic may vote, under any name. *Signed*:
a vote needs the signature of a key that is its approver's, or an id token whose nonce names the vote. Where nothing is
said nobody is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from callgate.approvers import fetching
from callgate.approvers.file import KeyFile, read
from callgate.approvers.keys import ApproverKey, parse_keys
from callgate.approvers.remote import RemoteKeys
from callgate.approvers.token import Refused, header_of
from callgate.approvers.verification import Identities, hold_id_token, hold_signed, typed
from callgate.approvers.waiting import WaitingRoom
from callgate.clock import Clock
from callgate.events.approvals import ApprovalVoted
from callgate.failures import BadInput, TemporaryFailure
from callgate.log.port import Record
from callgate.settings import ApprovalSettings

Key = TypeVar("Key", covariant=True)  # noqa: PLC0105 - named as in RemoteKeys

_KEYS = "CALLGATE_APPROVAL_KEYS"
_TRUSTED = "CALLGATE_APPROVAL_TRUSTED"
_OIDC = "CALLGATE_APPROVAL_OIDC_"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a vote is worth, for good: it is written beside the vote, and no reader needs a key."""

    verification: Literal["trusted", "signed", "refused"]
    refusal: str | None = None
    key: str | None = None
    """The kid of the key that signed; None where nobody did, or nobody is believed."""


class Entrance(Protocol):
    """What the intake asks of every vote."""

    async def judge(self, vote: ApprovalVoted, record: Record) -> Verdict:
        """What the vote is worth, by the time of its record. Raises TemporaryFailure where keys can't be had now."""
        ...

    def sender(self, vote: ApprovalVoted) -> str | None:
        """Who the vote seems to be from, as far as shares of the work go; None for nobody in particular.

        Quick, and believed in nothing else.
        """
        ...

    def queue(self, vote: ApprovalVoted) -> str | None:
        """Which votes of its approval this one keeps its order with: those of the same queue; None for no others."""
        ...

    def known(self, sender: str) -> bool:
        """Whether there is such a sender: junk under made-up names is to have one share together."""
        ...

    def unready(self) -> str | None:
        """Why no vote can be judged now, or None."""
        ...


class Keys(Protocol[Key]):
    """Public keys by their kid, wherever they come from."""

    def known(self, kid: str) -> bool:
        """Whether there was such a key at the last look. Does not look."""
        ...

    async def find(self, kid: str) -> Key | None:
        """The key by now, or None. Raises TemporaryFailure where that can't be known."""
        ...

    def unready(self) -> str | None:
        """Why the keys can't be used now, or None."""
        ...


class TrustedEntrance:
    """See `Entrance`: everybody is who they say."""

    async def judge(self, vote: ApprovalVoted, record: Record) -> Verdict:  # noqa: ARG002 - the port's
        """See `Entrance.judge`."""
        return Verdict("trusted")

    def sender(self, vote: ApprovalVoted) -> str | None:
        """See `Entrance.sender`."""
        return vote.approver

    def queue(self, vote: ApprovalVoted) -> str | None:  # noqa: ARG002 - the port's
        """See `Entrance.queue`: all of them, as none ever waits."""
        return ""

    def known(self, sender: str) -> bool:  # noqa: ARG002 - the port's
        """See `Entrance.known`."""
        return True

    def unready(self) -> str | None:
        """See `Entrance.unready`."""
        return None


class SignedEntrance:
    """See `Entrance`: a vote needs proof. With neither keys nor a provider none is believed."""

    def __init__(
        self,
        audience: str,
        clock: Clock,
        keys: Keys[ApproverKey] | None = None,
        provider: tuple[Identities, Keys[Mapping[str, Any]]] | None = None,
    ) -> None:
        """`keys` are the approvers', `provider` who issues id tokens and with which keys."""
        self._audience = audience
        self._keys = keys
        self._provider = provider
        self._waiting = WaitingRoom(clock)

    async def judge(self, vote: ApprovalVoted, record: Record) -> Verdict:
        """See `Entrance.judge`. Only so many votes may wait for keys: junk must not fill window and state meanwhile."""
        try:
            verdict = Verdict("signed", key=await self._hold(vote, record.timestamp))
        except Refused as refusal:
            verdict = Verdict("refused", str(refusal))
        except TemporaryFailure:
            if self._waiting.wait(record):
                raise
            verdict = Verdict("refused", "the keys can't be had now, and too many votes wait for them: vote again")
        self._waiting.done(record)
        return verdict

    def sender(self, vote: ApprovalVoted) -> str | None:
        """See `Entrance.sender`: the key's name. Junk under it has that key's share, and no other."""
        try:
            return header_of(vote.signature).kid
        except Refused:
            return None

    def queue(self, vote: ApprovalVoted) -> str | None:
        """See `Entrance.queue`: a key that can't be had now holds up only what names it."""
        return self.sender(vote)

    def known(self, sender: str) -> bool:
        """See `Entrance.known`."""
        return any(keys.known(sender) for keys in self._sources())

    def unready(self) -> str | None:
        """See `Entrance.unready`."""
        return next((why for keys in self._sources() if (why := keys.unready()) is not None), None)

    async def _hold(self, vote: ApprovalVoted, appended_at: float) -> str:
        header = header_of(vote.signature)
        if typed(header) == "vote":
            if self._keys is None or (key := await self._keys.find(header.kid)) is None:
                raise Refused("the signature's key is not known")
            hold_signed(vote, header, key, self._audience, appended_at)
        else:
            if self._provider is None:
                raise Refused("id tokens are not taken here")
            identities, keys = self._provider
            if (jwk := await keys.find(header.kid)) is None:
                raise Refused("the id token's key is not known")
            hold_id_token(vote, header, jwk, identities, audience=self._audience, appended_at=appended_at)
        return header.kid

    def _sources(self) -> tuple[Keys[Any], ...]:
        provided = () if self._provider is None else (self._provider[1],)
        return provided if self._keys is None else (self._keys, *provided)


def open_entrance(settings: ApprovalSettings, clock: Clock) -> Entrance:
    """The entrance as it is set up. Raises BadInput where votes could not be believed, or a setting can't be used.

    A file is read now; nothing is asked of an address before the first vote.
    """
    check(settings)
    if settings.trusted:
        return TrustedEntrance()
    keys = _keys(settings.keys, clock) if settings.keys else None
    provider = None
    if settings.oidc_issuer:
        identities = Identities(issuer=settings.oidc_issuer, client=settings.oidc_client, claim=settings.oidc_claim)
        provider = identities, RemoteKeys(lambda: _provided(settings), clock)
    return SignedEntrance(settings.audience, clock, keys, provider)


def check(settings: ApprovalSettings) -> None:
    """Raise BadInput where no vote could be believed, or settings contradict. A file of keys is read.

    Of settings that contradict each other the more open one never wins.
    """
    proven = [name for name, text in ((_KEYS, settings.keys), (f"{_OIDC}ISSUER", settings.oidc_issuer)) if text]
    if settings.trusted and proven:
        raise BadInput(_TRUSTED, f"is set, and so is {proven[0]}", "Unset one: either votes need proof or they don't")
    if not settings.trusted and not proven:
        raise BadInput(
            _KEYS,
            f"is not set, nor {_OIDC}ISSUER or {_TRUSTED}: no vote could be believed",
            "Name the approvers' JWKS (`callgate approvers keygen` makes one), or set CALLGATE_APPROVAL_TRUSTED to "
            "true if only trusted programs can write to approvals.votes",
        )
    if settings.keys and fetching.is_address(settings.keys):
        fetching.check_address(_KEYS, settings.keys)
    elif settings.keys:
        parse_keys(read(Path(settings.keys)), settings.keys)
    if settings.oidc_issuer:
        _check_provider(settings)
    for name, text in (("AUDIENCE", settings.audience), ("OIDC_CLAIM", settings.oidc_claim)):
        if not text:
            raise BadInput(f"CALLGATE_APPROVAL_{name}", "is empty", "Leave it unset for its default")


def _check_provider(settings: ApprovalSettings) -> None:
    fetching.check_address(f"{_OIDC}ISSUER", settings.oidc_issuer)
    if not settings.oidc_client:
        raise BadInput(f"{_OIDC}CLIENT", "is not set", "Name the client id that the id tokens are for")
    if settings.oidc_keys:
        fetching.check_address(f"{_OIDC}KEYS", settings.oidc_keys)


def described(settings: ApprovalSettings) -> str:
    """In words, what proves a vote. Reads a file of keys; asks no address. Raises BadInput, as `check` does."""
    check(settings)
    parts: list[str] = []
    if settings.keys and fetching.is_address(settings.keys):
        parts.append(f"a signature with a key of {fetching.shown(settings.keys)}, which was not asked")
    elif settings.keys:
        count = len(parse_keys(read(Path(settings.keys)), settings.keys))
        parts.append(f"a signature with one of {count} keys of {settings.keys}")
    if settings.oidc_issuer:
        parts.append(f"an id token of {fetching.shown(settings.oidc_issuer)}, which was not asked")
    return ", or ".join(parts)


def _keys(named: str, clock: Clock) -> Keys[ApproverKey]:
    if not fetching.is_address(named):
        return KeyFile(Path(named))

    async def ask() -> Mapping[str, ApproverKey]:
        return parse_keys(await fetching.fetch(named), _KEYS)

    return RemoteKeys(ask, clock)


async def _provided(settings: ApprovalSettings) -> Mapping[str, Mapping[str, Any]]:
    """The identity provider's keys, as they are: which of them can be used shows with the token. Raises as `ask`."""
    content = await fetching.fetch(settings.oidc_keys or await fetching.discover(settings.oidc_issuer))
    try:
        keys = msgspec.json.decode(content, type=dict[str, Any]).get("keys")
        assert isinstance(keys, list)
        return {key["kid"]: key for key in keys if isinstance(key, dict) and isinstance(key.get("kid"), str)}
    except (msgspec.MsgspecError, ValueError, RecursionError, AssertionError):
        raise TemporaryFailure("the identity provider's keys can't be read") from None
