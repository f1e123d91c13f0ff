"""The approvers' JWKS: every key says whose it is; what can't be used is named; what can't vote is passed over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs
from tests.support.signing_values import LEE, PROVIDER_KEY, SAM, document, key_file, known

from callgate.approvers import signing
from callgate.approvers.file import KeyFile
from callgate.approvers.keys import added, parse_keys, revoked, thumbprint
from callgate.approvers.signing import make_key, read_key
from callgate.failures import BadInput

pytestmark = pytest.mark.usefixtures("every_level_is_logged")


def test_a_key_says_whose_it_is() -> None:
    """Names, issuer and kid are read; a key that names no issuer has the usual one."""
    public = LEE.public_jwk()
    del public["issuer"]
    key = parse_keys(orjson.dumps({"keys": [public]}), "test")[LEE.kid]
    assert (key.approvers, key.issuer, key.revoked_at) == (("lee",), "callgate", None)


def test_the_kid_is_the_thumbprint() -> None:
    """The example of RFC 8037, A.3: any tool finds the same name for a key."""
    assert thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo") == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_keys_of_other_kinds_are_passed_over() -> None:
    """A document may hold keys for something else; nobody votes with them."""
    content = orjson.dumps({"keys": [PROVIDER_KEY, LEE.public_jwk()]})
    assert set(parse_keys(content, "test")) == {LEE.kid}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"approvers": []}, "approvers"),
        ({"approvers": "lee"}, "approvers"),
        ({"kid": ""}, "kid"),
        ({"x": "AAAA"}, "x"),
        ({"x": "%"}, "x"),
        ({"crv": "Ed448"}, "Ed25519"),
        ({"alg": "HS256"}, "EdDSA"),
        ({"use": "enc"}, "signatures"),
        ({"revoked_at": "yesterday"}, "revoked_at"),
        ({"revoked_at": "2026-11-21T12:00:00"}, "time zone"),
        ({"d": "secret"}, "private"),
    ],
    ids=str,
)
def test_a_key_that_cannot_be_used_is_named(changes: dict[str, Any], field: str) -> None:
    """A mistake in a key refuses the whole document, with the key's place: nobody loses their vote unnoticed."""
    with pytest.raises(BadInput, match=rf"keys\[1\].*{field}") as failure:
        parse_keys(document(SAM)[:-2] + b"," + document(LEE, **changes)[9:], "test")
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"keys": 1}', b'{"keys": [1]}', b"[" * 100_000], ids=range(5))
def test_what_is_no_document_is_refused(content: bytes) -> None:
    """Junk is bad input, whatever it is."""
    with pytest.raises(BadInput, match="test"):
        parse_keys(content, "test")


def test_two_keys_of_one_name_are_refused() -> None:
    """A kid names one key, or nobody could say which was revoked."""
    with pytest.raises(BadInput, match=r"keys\[1\]\.kid"):
        known(LEE, LEE)


def test_a_key_is_added_and_revoked_and_the_rest_stays() -> None:
    """What others have written into the document stays, also members that are not ours."""
    before = orjson.dumps({"keys": [PROVIDER_KEY, {**SAM.public_jwk(), "note": "hers"}], "more": 1})
    after = revoked(added(before, LEE.public_jwk(), "test"), SAM.kid, 1_700_000_000.5, "test")
    assert orjson.loads(after)["more"] == 1
    assert orjson.loads(after)["keys"][0] == PROVIDER_KEY
    assert orjson.loads(after)["keys"][1]["note"] == "hers"
    keys = parse_keys(after, "test")
    assert (keys[SAM.kid].revoked_at, keys[LEE.kid].revoked_at) == (1_700_000_000.5, None)


def test_a_revocation_only_moves_back() -> None:
    """Revoking again, later, does not make what came between good again."""
    once = revoked(document(LEE), LEE.kid, 100.0, "test")
    assert parse_keys(revoked(once, LEE.kid, 200.0, "test"), "test")[LEE.kid].revoked_at == 100.0
    assert parse_keys(revoked(once, LEE.kid, 50.0, "test"), "test")[LEE.kid].revoked_at == 50.0


def test_an_unknown_key_is_not_revoked() -> None:
    """A misspelt kid is bad input, and not a revocation of nothing."""
    with pytest.raises(BadInput, match="no key"):
        revoked(document(LEE), "nobody", 1.0, "test")


async def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    """Added keys are found and revoked ones known for it from the next vote on, without a restart."""
    keys = KeyFile(key_file(tmp_path, LEE))
    assert keys.known(LEE.kid)
    assert not keys.known(SAM.kid)
    key_file(tmp_path, LEE, SAM, revoked_at="2026-11-21T12:00:00Z")
    with capture_logs() as logs:
        found = await keys.find(SAM.kid)
        assert found is not None
        assert found.revoked_at is not None
        assert await keys.find("other") is None
    assert [line["log_level"] for line in logs] == ["info"]


async def test_a_file_that_cannot_be_used_any_more_changes_nothing(tmp_path: Path) -> None:
    """The last good keys stay, and it is said once; a file that vanishes takes no key with it."""
    path = key_file(tmp_path, LEE)
    keys = KeyFile(path)
    path.write_bytes(b"{")
    with capture_logs() as logs:
        for _ in range(3):
            assert await keys.find(LEE.kid) is not None
    assert [line["log_level"] for line in logs] == ["warning"]
    path.unlink()
    assert await keys.find(LEE.kid) is not None
    assert keys.unready() is None
    key_file(tmp_path, SAM)
    assert await keys.find(LEE.kid) is None


def test_a_start_without_a_good_file_is_refused(tmp_path: Path) -> None:
    """Where no good keys were ever read nobody is believed."""
    with pytest.raises(BadInput, match="can't be read"):
        KeyFile(tmp_path / "none.jwks")


def test_a_key_file_is_read_as_it_was_made(tmp_path: Path) -> None:
    """A private key comes back with its names, issuer and installation; one that lacks what can follow gets it."""
    made = make_key(("lee", "kim"), issuer="desk", audience="prod")
    path = tmp_path / "lee.key"
    path.write_bytes(orjson.dumps(made.private_jwk()))
    read = read_key(path)
    assert (read.kid, read.approvers, read.issuer, read.audience) == (made.kid, ("lee", "kim"), "desk", "prod")
    assert read.public_jwk() == made.public_jwk()
    path.write_bytes(orjson.dumps({name: made.private_jwk()[name] for name in ("kty", "crv", "d", "approvers")}))
    assert read_key(path).kid == made.kid


@pytest.mark.parametrize(
    "changes", [{"d": "AAAA"}, {"d": "%s"}, {"kty": "EC"}, {"approvers": []}, {"d": None}], ids=str
)
def test_a_private_key_that_cannot_be_used_is_not_shown(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The file is named, and nothing that stands in it."""
    path = tmp_path / "lee.key"
    secret = LEE.private_jwk()["d"]
    path.write_bytes(orjson.dumps({**LEE.private_jwk(), "note": secret, **changes}))
    with pytest.raises(BadInput, match=r"lee\.key") as failure:
        read_key(path)
    assert secret not in str(failure.value)
    os.unlink(path)  # noqa: PTH108 - it is gone
    with pytest.raises(BadInput, match="can't be read"):
        read_key(path)


def test_no_key_is_named_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thumbprint may begin with a hyphen; a key that is made must be one that `revoke` can be given."""
    names = iter(["-hidden", "-", "fine"])
    monkeypatch.setattr(signing, "thumbprint", lambda _: next(names))
    assert make_key(("lee",)).kid == "fine"
