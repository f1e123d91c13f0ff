"""What strangers have written can't deceive whoever reads it on a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.cli.opening import pick
from callgate.cli.wording import compact, duration, moment, visible
from callgate.failures import BadInput

KNOWN = ["act_000_abcdefgh2345", "act_001_abcxyz", "act_002_zzzzzz"]


@pytest.mark.parametrize("text", ["plain", "größer 東京 🎉", "a.b/c_d-e", ""])
def test_honest_text_is_left_alone(text: str) -> None:
    """Letters, signs and pictures of any language are shown as they are."""
    assert visible(text) == text


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "a\rb", "\x9b31m", "\u202eevil\u202c", "zero\u200bwidth", "\x00", "\U000e0041", "a\u2028b", "\x7f"],
)
def test_what_steers_the_terminal_is_written_out(text: str) -> None:
    """Escape sequences, line breaks, hidden and direction-turning characters are shown as escapes."""
    shown = visible(text)
    assert shown != text
    assert "\\u" in shown or "\\U" in shown


@given(st.text(st.characters()))
def test_nothing_that_steers_passes(text: str) -> None:
    """No text comes out with a control, format or surrogate character in it, and none raises."""
    assert not {unicodedata.category(each) for each in visible(text)} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_long_values_say_that_they_are_cut() -> None:
    """A cut value says how long it is, so that nobody approves a beginning for the whole."""
    shown = compact({"text": "x" * 1000}, 50)
    assert len(shown) < 100
    assert "1011 characters" in shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.03, "30 ms"), (5, "5 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h"), (-61, "-1 min 1 s")],
)
def test_durations_are_said_in_two_units(seconds: float, said: str) -> None:
    """A length of time is said in the units that matter."""
    assert duration(seconds) == said


@pytest.mark.parametrize("seconds", [None, float("nan"), float("inf"), 1e30, -1e30])
def test_impossible_times_are_a_dash(seconds: float | None) -> None:
    """A time that is none, which a stranger's event may hold, is a dash and no crash."""
    assert moment(seconds) == "-"


def test_a_time_is_said_in_utc() -> None:
    """Times are in UTC and say so."""
    assert moment(0.5) == "1970-01-01 00:00:00.500Z"


@pytest.mark.parametrize("text", ["abcd", "act_000", "act_000_abcdefgh2345", " abcd ", "zz"])
def test_a_unique_beginning_is_enough(text: str) -> None:
    """The beginning of an id or of its short form finds it, if it is the beginning of one only."""
    assert pick("action", text, KNOWN) in KNOWN


@pytest.mark.parametrize("text", ["abc", "act_", "", " ", "q", "cdef"])
def test_what_finds_none_or_several_is_refused(text: str) -> None:
    """An ambiguous, empty or unknown beginning is bad input: nothing is guessed."""
    with pytest.raises(BadInput):
        pick("action", text, KNOWN)


def test_a_whole_id_wins_over_longer_ones() -> None:
    """An id that is the beginning of another can still be named."""
    assert pick("action", "act_0", ["act_0", "act_01"]) == "act_0"
