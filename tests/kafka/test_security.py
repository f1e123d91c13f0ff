"""Connecting as the brokers ask for it, being told why not, and seeing what a user may do; no secret is ever shown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from broker.jars import jars, java
from broker.local import Node, free_ports
from tests.support.brokers import Broker
from tests.support.command import Ran, callgate

from callgate.log.kafka.requests import AlterTopics

PASSWORD, OTHER = "s3cret-of-alice", "s3cret-of-admin"

_LOGIN = "org.apache.kafka.common.security"
_TOPIC, _GROUP, _TRANSACTIONAL, _PREFIXED, _ALLOW = 2, 3, 5, 4, 3
_READ, _WRITE, _CREATE, _DESCRIBE_CONFIGS, _ALTER_CONFIGS = 3, 4, 5, 10, 11


@dataclass
class Guarded:
    """A broker with a listener of each kind, that lets nobody do anything but the administrator."""

    plain: str
    sasl: str
    tls: str
    ca: Path

    def callgate(self, *arguments: str, at: str = "", prefix: str = "", **settings: str) -> Ran:
        """A command there; `at` is another of its addresses than that with SASL."""
        ours = {
            "CALLGATE_LOG": f"kafka://{at or self.sasl}",
            "CALLGATE_TOPIC_PREFIX": prefix,
            "CALLGATE_KAFKA_SECURITY": "sasl_plaintext",
        }
        ran = callgate(*arguments, **(ours | settings))
        for secret in (PASSWORD, OTHER, "wrong-one"):
            assert secret not in ran.out + ran.err
        return ran

    async def spoil(self, topic: str) -> None:
        """Have a topic keep its records for a second only."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.plain)
        await admin.start()
        try:
            await admin._send_request(AlterTopics({topic: {"retention.ms": "1000"}}))
        finally:
            await admin.close()

    async def allow(self, user: str, prefix: str, *operations: int, kind: int = 0) -> None:
        """Let a user do something with the topics, or another kind of thing, of a prefix."""
        acls = [(kind or _TOPIC, prefix, _PREFIXED, f"User:{user}", "*", each, _ALLOW) for each in operations]
        admin = AIOKafkaAdminClient(bootstrap_servers=self.plain)
        await admin.start()
        try:
            answer = await admin._send_request(_Acls(acls))
            assert [code for code, _ in answer.creation_responses] == [0] * len(acls)
        finally:
            await admin.close()


class _Acls(CreateAclsRequest):  # type: ignore[misc] # the library is untyped
    """The library's own builder knows one at a time, and not every version's fields."""

    def __init__(self, acls: list[tuple[Any, ...]]) -> None:
        self._acls = acls

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._acls)


@pytest.fixture(scope="module")
def guarded(kafka: str) -> Iterator[Guarded]:
    """A broker of this module's own; `kafka` says first where none can be had."""
    if shutil.which("java") is None or shutil.which("openssl") is None:
        pytest.skip("a guarded broker needs a JDK and openssl")
    folder = Path(tempfile.mkdtemp(prefix="callgate-guarded-"))
    ports = free_ports(5)
    ca = _certified(folder)
    node = Node(folder, 1, ports[0], ports[1], extra=_settings(ports, folder))
    _formatted(node)
    broker = Broker(node)
    try:
        broker.start()
        sasl, tls = (f"127.0.0.1:{port}" for port in ports[2:4])
        yield Guarded(broker.address, sasl, tls, ca)
    finally:
        if broker.pid:
            with contextlib.suppress(ProcessLookupError):
                broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _settings(ports: list[int], folder: Path) -> dict[str, str]:
    listeners = {"PLAINTEXT": ports[0], "SASL_PLAINTEXT": ports[2], "SASL_SSL": ports[3]}
    outside = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
    found = {
        "listeners": f"{outside},CONTROLLER://127.0.0.1:{ports[1]}",
        "advertised.listeners": outside,
        "listener.security.protocol.map": ",".join(f"{name}:{name}" for name in listeners) + ",CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,OAUTHBEARER",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:admin",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
    }
    for name in ("sasl_plaintext", "sasl_ssl"):
        found |= {
            f"listener.name.{name}.plain.sasl.jaas.config": f"{_LOGIN}.plain.PlainLoginModule required "
            f'user_alice="{PASSWORD}" user_bob="{PASSWORD}" user_admin="{OTHER}";',
            f"listener.name.{name}.scram-sha-256.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
            f"listener.name.{name}.oauthbearer.sasl.jaas.config": f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule "
            'required unsecuredLoginStringClaim_sub="broker";',
        }
    return found


def _certified(folder: Path) -> Path:
    """A certificate for the loopback, signed by itself; the broker gets its key too."""
    key, certificate = folder / "key.pem", folder / "ca.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run(
        [*request, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    (folder / "broker.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
    return certificate


def _formatted(node: Node) -> None:
    """SCRAM users stand in the cluster's own metadata, so the first ones are made with its storage."""
    settings = node.folder / "server.properties"
    settings.write_text("".join(f"{key}={value}\n" for key, value in node.settings().items()))
    command = [java(), "-cp", f"{jars()}/*", "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA"]
    users = ["--add-scram", f"SCRAM-SHA-256=[name=admin,password={OTHER}]"]
    subprocess.run([*command, "-c", str(settings), *users], check=True, capture_output=True)


ADMIN = {"CALLGATE_KAFKA_USER": "admin", "CALLGATE_KAFKA_PASSWORD": OTHER}
ALICE = {"CALLGATE_KAFKA_USER": "alice", "CALLGATE_KAFKA_PASSWORD": PASSWORD}
BOB = {"CALLGATE_KAFKA_USER": "bob", "CALLGATE_KAFKA_PASSWORD": PASSWORD}
MEANS = {"CALLGATE_BIGHUB_KEY": "k", "CALLGATE_APPROVAL_TRUSTED": "true"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("over_tls", [False, True])
def test_the_right_password_lets_in(guarded: Guarded, mechanism: str, *, over_tls: bool) -> None:
    """PLAIN and SCRAM, with and without TLS: topics are laid out and listed, and no secret is shown."""
    settings = {**ADMIN, "CALLGATE_KAFKA_MECHANISM": mechanism}
    if over_tls:
        settings |= {"CALLGATE_KAFKA_SECURITY": "sasl_ssl", "CALLGATE_KAFKA_CA_FILE": str(guarded.ca)}
    at, prefix = (guarded.tls if over_tls else guarded.sasl), f"{mechanism.lower()}.{over_tls}."
    applied = guarded.callgate("topics", "apply", "--partitions", "1", at=at, prefix=prefix, **settings)
    assert applied.code == 0, applied.err
    assert guarded.callgate("topics", "list", at=at, prefix=prefix, **settings).code == 0


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password_is_named_and_never_shown(guarded: Guarded, mechanism: str) -> None:
    """It is bad input, named by its setting; neither it nor the right one stands in any output."""
    settings = {**ADMIN, "CALLGATE_KAFKA_PASSWORD": "wrong-one", "CALLGATE_KAFKA_MECHANISM": mechanism}
    for arguments in (("topics", "apply"), ("run", "evaluator"), ("check",)):
        ran = guarded.callgate(*arguments, **settings, **MEANS)
        assert ran.code == 2
        assert "CALLGATE_KAFKA_PASSWORD" in ran.out + ran.err
        assert mechanism in ran.out + ran.err


def test_a_mechanism_that_the_listener_lacks_is_named(guarded: Guarded) -> None:
    """It is the mechanism that is wrong, not the password."""
    ran = guarded.callgate("topics", "list", **ADMIN, CALLGATE_KAFKA_MECHANISM="SCRAM-SHA-512")
    assert ran.code == 2
    assert "CALLGATE_KAFKA_MECHANISM" in ran.err


def test_a_certificate_that_nobody_knows_is_named(guarded: Guarded) -> None:
    """Without the authority's file the brokers are not trusted, and the setting that would help is named."""
    settings = {**ADMIN, "CALLGATE_KAFKA_SECURITY": "sasl_ssl"}
    ran = guarded.callgate("topics", "list", at=guarded.tls, **settings)
    assert ran.code == 2
    assert "CALLGATE_KAFKA_CA_FILE" in ran.err


def test_the_wrong_kind_of_listener_is_guessed(guarded: Guarded) -> None:
    """TLS where none is spoken, and none where it is, end in words that name what to look at."""
    settings = {**ADMIN, "CALLGATE_KAFKA_SECURITY": "sasl_ssl", "CALLGATE_KAFKA_CA_FILE": str(guarded.ca)}
    for at, more in ((guarded.sasl, settings), (guarded.tls, ADMIN)):
        ran = guarded.callgate("topics", "list", at=at, **more)
        assert ran.code in {1, 2}
        assert "CALLGATE_KAFKA_SECURITY" in ran.err


def test_a_token_is_read_from_its_file_each_time(guarded: Guarded, tmp_path: Path) -> None:
    """OAUTHBEARER takes the token that the file holds now: one that ran out is refused, the next one lets in."""
    file = tmp_path / "token"
    settings = {"CALLGATE_KAFKA_MECHANISM": "OAUTHBEARER", "CALLGATE_KAFKA_TOKEN_FILE": str(file)}
    file.write_text(_token("admin", time.time() - 60))
    ran = guarded.callgate("topics", "apply", **settings)
    assert ran.code == 2
    assert "CALLGATE_KAFKA_TOKEN_FILE" in ran.err
    file.write_text(_token("admin", time.time() + 600))
    ran = guarded.callgate("topics", "apply", "--partitions", "1", prefix="oauth.", **settings)
    assert ran.code == 0, ran.err


def test_what_a_user_may_not_do_is_said(guarded: Guarded) -> None:
    """Who may not describe the topics is told so, and never that they are missing; who may not write them too."""
    prefix = "acl."
    assert guarded.callgate("topics", "apply", "--partitions", "1", prefix=prefix, **ADMIN).code == 0
    ran = guarded.callgate("run", "evaluator", prefix=prefix, **ALICE, **MEANS)
    assert ran.code == 2
    assert "this user may not describe" in ran.err
    ran = guarded.callgate("topics", "apply", prefix=prefix, **ALICE)
    assert ran.code in {1, 2}
    assert "may not" in ran.err
    found = _findings(guarded, prefix, ALICE)
    assert any("may not describe them" in each for each in found)
    assert any("may not see them" in each for each in found)

    asyncio.run(guarded.allow("alice", prefix, _READ, _DESCRIBE_CONFIGS))
    found = _until(guarded, prefix, ALICE, lambda said: "may not describe them" not in said)
    assert any(f"{prefix}actions.decided" in each and "may not write" in each for each in found)
    assert any("transactional ids" in each for each in found)


def test_the_services_need_no_more_than_is_documented(guarded: Guarded, tmp_path: Path) -> None:
    """With READ and WRITE on topics, READ on groups and WRITE on transactional ids, a whole play passes over SASL."""
    prefix, file = "least.", tmp_path / "few.turns.jsonl"
    calls = [{"call_id": f"c{each}", "name": "look", "arguments": "{}", "output": each} for each in range(3)]
    turns = [{"corpus": "few", "run_id": f"r{each}", "turn": 0, "calls": calls} for each in range(5)]
    file.write_bytes(b"\n".join(orjson.dumps(each) for each in turns))
    assert guarded.callgate("topics", "apply", "--partitions", "2", prefix=prefix, **ADMIN).code == 0

    async def allow() -> None:
        await guarded.allow("bob", prefix, _READ, _WRITE)
        await guarded.allow("bob", prefix, _READ, kind=_GROUP)
        await guarded.allow("bob", prefix, _WRITE, kind=_TRANSACTIONAL)

    asyncio.run(allow())
    _until(guarded, prefix, BOB, lambda said: "may not describe them" not in said)
    report = tmp_path / "report.json"
    played = ("play", str(file), "--log", f"kafka://{guarded.sasl}", "--json", "--timeout", "60", "--report")
    with contextlib.chdir(tmp_path):
        ran = guarded.callgate(*played, str(report), prefix=prefix, **BOB)
    assert ran.code == 0, ran.err
    assert (ran.json()["actions"], ran.json()["violations"]) == (15, [])


def test_applying_needs_no_more_than_is_documented(guarded: Guarded) -> None:
    """Who may create, set, read and write topics of the prefix makes the layout, and mends it."""
    prefix = "made."
    asyncio.run(guarded.allow("bob", prefix, _READ, _WRITE, _CREATE, _DESCRIBE_CONFIGS, _ALTER_CONFIGS))
    until = time.monotonic() + 15
    while (ran := guarded.callgate("topics", "apply", "--partitions", "1", prefix=prefix, **BOB)).code != 0:
        assert time.monotonic() < until, ran.err
    asyncio.run(guarded.spoil(f"{prefix}turns"))
    _until(guarded, prefix, BOB, lambda said: "turns: retention.ms is 1000" in said)
    mended = guarded.callgate("topics", "apply", prefix=prefix, **BOB)
    assert (mended.code, "turns: retention.ms from 1000" in mended.out) == (0, True)


def test_who_may_forge_decisions_is_named(guarded: Guarded) -> None:
    """An administrator's check names who may write to topics that are no entrance; that anybody may is serious."""
    prefix = "forged."
    assert guarded.callgate("topics", "apply", "--partitions", "1", prefix=prefix, **ADMIN).code == 0
    asyncio.run(guarded.allow("mallory", f"{prefix}actions.", _WRITE))
    asyncio.run(guarded.allow("agent", f"{prefix}turns", _WRITE))
    found = _until(guarded, prefix, ADMIN, lambda said: "User:mallory" in said)
    assert not any("User:agent" in each for each in found)
    assert guarded.callgate("check", prefix=prefix, **ADMIN, **MEANS).code == 0
    asyncio.run(guarded.allow("*", f"{prefix}control", _WRITE))
    _until(guarded, prefix, ADMIN, lambda said: "User:*" in said)
    assert guarded.callgate("check", prefix=prefix, **ADMIN, **MEANS).code == 1


def _until(guarded: Guarded, prefix: str, settings: Mapping[str, str], holds: Callable[[str], bool]) -> list[str]:
    """What check says once it holds: the brokers take a moment to enforce a new ACL, or to tell a new setting."""
    until = time.monotonic() + 15
    while True:
        found = _findings(guarded, prefix, settings)
        if holds("\n".join(found)):
            return found
        assert time.monotonic() < until, found


def _findings(guarded: Guarded, prefix: str, settings: Mapping[str, str]) -> list[str]:
    ran = guarded.callgate("check", "--json", prefix=prefix, **settings, **MEANS)
    return [each["said"] for each in ran.json()]


def _token(subject: str, until: float) -> str:
    claims = {"sub": subject, "iat": time.time() - 3600, "exp": until}
    parts = [orjson.dumps({"alg": "none"}), orjson.dumps(claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
