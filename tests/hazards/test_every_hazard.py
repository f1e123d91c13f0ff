"""The list of hazards is whole."""

from __future__ import annotations

import re
from pathlib import Path

HAZARDS = 29
"""How many are known of the published adapter, H1 to H29."""

_NAMED = re.compile(r"^(?:async )?def test_h(\d\d)_", re.MULTILINE)


def test_every_hazard_has_a_test_that_bears_its_name() -> None:
    """None of them is left out, and no test bears the name of one that nobody knows."""
    found = {
        int(number) for path in Path(__file__).parent.glob("test_*.py") for number in _NAMED.findall(path.read_text())
    }
    assert found == set(range(1, HAZARDS + 1))
