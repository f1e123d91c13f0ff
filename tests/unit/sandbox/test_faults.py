"""The sandbox's faults: when they strike, and what is said of a file that can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from callgate.failures import BadInput
from callgate.sandbox.faults import Fault, Faults, load_faults, parse_faults

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "faults"
ROUTE = "POST /actions/evaluate"


def struck(faults: Faults, requests: int, route: str = ROUTE, action: object = None) -> list[int]:
    """Which of so many equal requests were struck, from 1."""
    return [n for n in range(1, requests + 1) if faults.strike(route, action) is not None]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=500), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Fault(status=500, times=2), [1, 2]),
        (Fault(status=500, every=3), [3, 6]),
        (Fault(status=500, every=3, times=1), [3]),
        (Fault(status=500, skip=2, every=2, times=2), [4, 6]),
    ],
)
def test_faults_are_counted(fault: Fault, expected: list[int]) -> None:
    """A fault strikes exactly the requests that its skip, every and times name."""
    assert struck(Faults([fault]), 8) == expected


def test_a_fault_counts_only_its_own_requests() -> None:
    """Route and action are globs; other requests neither fail nor count."""
    faults = Faults([Fault(route="POST /actions/*", action="pay_*", status=500, every=2)])
    assert struck(faults, 3, "GET /approvals", "pay_out") == []
    assert struck(faults, 3, ROUTE, "refund") == []
    assert struck(faults, 3, ROUTE, None) == []
    assert struck(faults, 3, ROUTE, "pay_out") == [2]


def test_the_first_that_strikes_happens_and_all_count() -> None:
    """Two faults for one request: the first happens, and the second has counted it."""
    first, second = Fault(status=500, times=1), Fault(status=503, every=2)
    faults = Faults([first, second])
    found = [faults.strike(ROUTE, None) for _ in range(4)]
    assert [each[0].status if each else None for each in found] == [500, 503, None, 503]


@pytest.mark.parametrize(
    ("text", "field", "way_out"),
    [
        ("fault = 1", "faults: fault", "[[fault]]"),
        ("[[fault]]\nroute = '*'", "faults: fault 1", "status"),
        ("[[fault]]\nstatus = 200", "faults: fault 1: status", "300 to 599"),
        ("[[fault]]\nstatus = 500.5", "faults: fault 1: status", "300 to 599"),
        ("[[fault]]\nretry_after = 3\ndelay_seconds = 1", "faults: fault 1: retry_after", "status = 429"),
        ("[[fault]]\nheaders = { a = 'b' }\ndelay_seconds = 1", "faults: fault 1: headers", "status = 503"),
        ("[[fault]]\nstatus = 500\nwhen = 'never'", "faults: fault 1: when", "before, after"),
        ("[[fault]]\nstatus = 500\nevery = 0", "faults: fault 1: every", "1 to"),
        ("[[fault]]\nbody = 'xml'", "faults: fault 1: body", "html"),
        ("[[fault]]\nhostile = 'D99'", "faults: fault 1: hostile", "D14"),
        ("[[fault]]\nmissing = [1]", "faults: fault 1: missing", "Write it"),
        ("[[fault]]\nstatus = 500\nprobability = 0.5", "faults: fault 1: probability", "every"),
        ("[[fault]]\nstatus = 500\n[[fault]]\ndelay_seconds = -1", "faults: fault 2: delay_seconds", "0 to 3600"),
    ],
)
def test_a_wrong_file_says_where_and_what_to_do(text: str, field: str, way_out: str) -> None:
    """Every fault of the file names its table and field, and the way out."""
    with pytest.raises(BadInput) as caught:
        parse_faults(text)
    assert caught.value.field == field
    assert way_out in caught.value.way_out


@pytest.mark.parametrize("name", ["hostile.toml", "flaky.toml"])
def test_the_examples_are_sound(name: str) -> None:
    """Every example can be loaded and strikes an evaluation sooner or later."""
    assert struck(load_faults(EXAMPLES / name), 20)


def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    """A missing file is bad input of its option."""
    with pytest.raises(BadInput, match="--faults"):
        load_faults(tmp_path / "missing.toml")
