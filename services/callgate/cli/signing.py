"""Who votes from a terminal, and with which key."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.approvers.signing import SigningKey


class Voter(NamedTuple):
    """A person, as the log will know them."""

    name: str
    key: SigningKey | None
    """What their votes are signed with; None where the entrance is trusted."""


def voter_of(name: str | None, key: Path | None) -> Voter:
    """Who votes: as they say, as CALLGATE_APPROVER says, as the key says, or as the machine calls them.

    Raises BadInput where the key can't be read, or is somebody else's.
    """
    named = os.environ.get("CALLGATE_APPROVER_KEY_FILE")
    path = key or (Path(named) if named else None)
    said = name or os.environ.get("CALLGATE_APPROVER")
    if path is None:
        return Voter(said or getpass.getuser(), None)
    from callgate.approvers.signing import read_key

    signing = read_key(path)
    if said is None and len(signing.approvers) > 1:
        names = ", ".join(signing.approvers)
        raise BadInput("--as", "is missing, and the key is of several", f"Name one of {names}")
    voter = said or signing.approvers[0]
    if voter not in signing.approvers:
        raise BadInput("--as", f"the key can't sign for {voter}", f"It signs for {', '.join(signing.approvers)}")
    return Voter(voter, signing)
