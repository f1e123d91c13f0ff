"""`callgate approvers`: keys are made, listed and revoked; a private key is in its file and nowhere else."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import orjson
import pytest
from tests.support.approval_values import APPROVAL, proposed, question
from tests.support.command import Ran, callgate
from tests.support.planted import plant, records
from tests.support.signing_values import LEE, document

from callgate.approvers.keys import parse_keys
from callgate.approvers.token import header_of
from callgate.approvers.verification import hold_signed
from callgate.events import topics
from callgate.events.approvals import ApprovalVoted
from callgate.events.codec import decode


@pytest.fixture
def keys(tmp_path: Path) -> str:
    """Where the JWKS is to be."""
    return str(tmp_path / "approvers.jwks")


def keygen(folder: Path, keys: str, *arguments: str, out: str = "lee.key", **settings: str) -> Ran:
    """A new key for lee."""
    return callgate(
        "approvers", "keygen", "lee", "--out", str(folder / out), *arguments, CALLGATE_APPROVAL_KEYS=keys, **settings
    )


def cast_on(folder: Path, *arguments: str, **settings: str) -> tuple[Ran, list[ApprovalVoted]]:
    """An approval, and what stands at the entrance after it; nobody counts it, since no service runs."""
    path, now = folder / "log.db", time.time()
    plant(path, proposed(), question(requested_at=now - 5, deadline=now + 600), at=now - 5)
    ran = callgate(
        "approvals", "approve", APPROVAL, "--wait", "0", *arguments, CALLGATE_LOG=f"sqlite:///{path}", **settings
    )
    found = [decode(record.value, record.headers).event for record in records(path, topics.VOTES.name)]
    return ran, [event for event in found if isinstance(event, ApprovalVoted)]


def test_a_key_is_made_and_its_public_half_published(tmp_path: Path, keys: str) -> None:
    """The private key is its owner's alone, the public one is in the JWKS, and the secret half is never shown."""
    ran = keygen(tmp_path, keys)
    assert ran.code == 0
    private = orjson.loads((tmp_path / "lee.key").read_bytes())
    assert stat.S_IMODE((tmp_path / "lee.key").stat().st_mode) == 0o600
    assert private["d"] not in ran.out + ran.err + Path(keys).read_text()
    (shown,) = callgate("approvers", "list", "--json", "--keys", keys).json()
    assert shown == {"kid": private["kid"], "approvers": ["lee"], "issuer": "callgate", "revoked_at": None}
    assert private["kid"] in ran.out


def test_no_private_key_is_overwritten(tmp_path: Path, keys: str) -> None:
    """A file that is there stays as it is, and no key is published whose other half is lost."""
    keygen(tmp_path, keys)
    before = (tmp_path / "lee.key").read_bytes(), Path(keys).read_bytes()
    ran = keygen(tmp_path, keys)
    assert (ran.code, "--out" in ran.err) == (2, True)
    assert before == ((tmp_path / "lee.key").read_bytes(), Path(keys).read_bytes())


def test_a_person_may_have_two_keys(tmp_path: Path, keys: str) -> None:
    """The next key stands beside the last until that is revoked."""
    first = keygen(tmp_path, keys, "--json").json()
    keygen(tmp_path, keys, out="new.key")
    assert len(callgate("approvers", "list", "--json", "--keys", keys).json()) == 2
    ran = callgate("approvers", "revoke", first["kid"], "--keys", keys)
    assert (ran.code, "revoked since" in ran.out) == (0, True)
    listed = callgate("approvers", "list", "--keys", keys).out
    assert ("good" in listed, "revoked" in listed) == (True, True)


def test_a_revocation_may_be_for_the_past(keys: str) -> None:
    """A key that was lost yesterday is revoked as of yesterday; a moment without its zone is refused."""
    Path(keys).write_bytes(document(LEE))
    for wrong in ("2023-11-14T22:13:20", "yesterday"):
        assert callgate("approvers", "revoke", LEE.kid, "--keys", keys, "--at", wrong).code == 2
    shown = callgate("approvers", "revoke", LEE.kid, "--keys", keys, "--at", "2023-11-14T22:13:20Z", "--json").json()
    assert shown["revoked_at"] == 1_700_000_000.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list"], "CALLGATE_APPROVAL_KEYS"),
        (["list", "--keys", "https://keys.example.com/"], "address"),
        (["list", "--keys", "none.jwks"], "none.jwks"),
        (["revoke", "kid", "--keys", "none.jwks"], "none.jwks"),
        (["keygen", "lee", "--out", "no/such/folder/key", "--keys", "new.jwks"], "--out"),
    ],
    ids=str,
)
def test_mistakes_are_named(arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 and the field; nothing is made."""
    monkeypatch.chdir(tmp_path)
    ran = callgate("approvers", *arguments)
    assert (ran.code, said in ran.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_vote_from_the_terminal_is_signed(tmp_path: Path, keys: str) -> None:
    """With a key the voter is the key's, and the vote that is cast stands on it, comment and all."""
    keygen(tmp_path, keys, "--audience", "prod")
    for given in (["--key", str(tmp_path / "lee.key")], []):
        ran, votes = cast_on(
            tmp_path, *given, "--comment", "fine", CALLGATE_APPROVER_KEY_FILE=str(tmp_path / "lee.key")
        )
        assert ran.code == 3
        header = header_of(votes[-1].signature)
        assert (votes[-1].approver, votes[-1].comment) == ("lee", "fine")
        found = parse_keys(Path(keys).read_bytes(), keys)[header.kid]
        hold_signed(votes[-1], header, found, "prod", time.time())


def test_the_installations_name_is_the_settings(tmp_path: Path, keys: str) -> None:
    """A key is for the installation that CALLGATE_APPROVAL_AUDIENCE names, where nobody says another."""
    keygen(tmp_path, keys, CALLGATE_APPROVAL_AUDIENCE="staging")
    assert orjson.loads((tmp_path / "lee.key").read_bytes())["audience"] == "staging"


def test_nobody_votes_with_anothers_key(tmp_path: Path, keys: str) -> None:
    """A name that the key can't sign for is refused before anything is cast, and a key of several needs a name."""
    keygen(tmp_path, keys)
    ran, votes = cast_on(tmp_path, "--key", str(tmp_path / "lee.key"), CALLGATE_APPROVER="kim")
    assert (ran.code, "kim" in ran.err, votes) == (2, True, [])
    keygen(tmp_path, keys, "mia", out="desk.key")
    ran, votes = cast_on(tmp_path, "--key", str(tmp_path / "desk.key"))
    assert (ran.code, "--as" in ran.err, votes) == (2, True, [])
    ran, votes = cast_on(tmp_path, "--key", str(tmp_path / "desk.key"), "--as", "mia")
    assert [each.approver for each in votes] == ["mia"]


def test_check_says_what_proves_a_vote(tmp_path: Path, keys: str) -> None:
    """`callgate check` says how votes are proven, and names what would keep the service from starting."""
    log = f"sqlite:///{tmp_path / 'log.db'}"
    keygen(tmp_path, keys)
    out = callgate("check", CALLGATE_LOG=log, CALLGATE_APPROVAL_KEYS=keys).out
    assert f"votes need proof: a signature with one of 1 keys of {keys}" in out.replace("\n", " ")
    url = "https://me:secret@keys.example.com/jwks?token=secret"
    out = callgate("check", CALLGATE_LOG=log, CALLGATE_APPROVAL_KEYS=url).out
    assert ("https://keys.example.com/jwks, which" in out.replace("\n", " "), "secret" in out) == (True, False)
    out = callgate("check", CALLGATE_LOG=log, CALLGATE_APPROVAL_KEYS=keys, CALLGATE_APPROVAL_TRUSTED="true").out
    assert "CALLGATE_APPROVAL_TRUSTED: is set, and so is CALLGATE_APPROVAL_KEYS" in out.replace("\n", " ")
