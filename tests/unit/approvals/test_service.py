"""The approvals service starts only where votes can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.signing_values import LEE, key_file

from callgate.approvals.service import build
from callgate.clock import ManualClock
from callgate.control.view import ControlView
from callgate.events import topics
from callgate.failures import BadInput
from callgate.log.port import Log
from callgate.settings import ApprovalSettings, Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host


def _host(**approval: Any) -> Host:
    return Host(
        log=cast("Log", None),
        clock=ManualClock(),
        settings=Settings(approval=ApprovalSettings(**approval)),
        metrics=Metrics(TelemetrySettings()),
        control=cast("ControlView", None),
    )


def test_without_trust_or_keys_it_refuses_to_start() -> None:
    """No entrance is trusted by accident: a setting must say so, and the refusal names each that would do."""
    with pytest.raises(BadInput, match=r"CALLGATE_APPROVAL_KEYS.*OIDC_ISSUER.*CALLGATE_APPROVAL_TRUSTED"):
        build(_host(trusted=False))


@pytest.mark.parametrize(
    ("approval", "field"),
    [
        ({"trusted": True, "keys": "x.jwks"}, "CALLGATE_APPROVAL_TRUSTED"),
        ({"trusted": True, "oidc_issuer": "https://id.example.com"}, "CALLGATE_APPROVAL_TRUSTED"),
        ({"keys": "none.jwks"}, "none.jwks"),
        ({"keys": "http://keys.example.com/"}, "CALLGATE_APPROVAL_KEYS"),
        ({"keys": "ftp://localhost/"}, "CALLGATE_APPROVAL_KEYS"),
        ({"oidc_issuer": "https://id.example.com"}, "CALLGATE_APPROVAL_OIDC_CLIENT"),
        ({"oidc_issuer": "id.example.com", "oidc_client": "c"}, "CALLGATE_APPROVAL_OIDC_ISSUER"),
        ({"oidc_issuer": "https://i", "oidc_client": "c", "oidc_keys": "http://x"}, "CALLGATE_APPROVAL_OIDC_KEYS"),
        ({"oidc_issuer": "https://i", "oidc_client": "c", "oidc_claim": ""}, "CALLGATE_APPROVAL_OIDC_CLAIM"),
        ({"keys": "https://keys.example.com/", "audience": ""}, "CALLGATE_APPROVAL_AUDIENCE"),
    ],
    ids=str,
)
def test_what_contradicts_or_is_open_on_the_way_is_refused(approval: dict[str, Any], field: str) -> None:
    """Settings that would believe more than was meant stop the service, by name."""
    with pytest.raises(BadInput, match=field):
        build(_host(**approval))


def test_with_keys_it_starts(tmp_path: Path) -> None:
    """A file is enough; an address is asked with the first vote, so that the service starts before it does."""
    for keys in (str(key_file(tmp_path, LEE)), "https://keys.example.com/jwks.json", "http://127.0.0.1:1/"):
        (job,) = build(_host(keys=keys))
        assert job.ready() is None
    build(_host(oidc_issuer="https://id.example.com", oidc_client="votes"))


def test_it_reads_the_entrance_and_the_ballots() -> None:
    """One group reads both, so that votes and timers of an approval are ordered by one lease."""
    (job,) = build(_host(trusted=True))
    assert (job.service, job.group, job.topics) == ("approvals", "approvals", (topics.VOTES, topics.BALLOTS))
