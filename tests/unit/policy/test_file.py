"""The policy's file: read at the start, read again when it changes, and never replaced by what can't be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from callgate.failures import BadInput
from callgate.policy.document import BUILT_IN
from callgate.policy.file import BYTES_MOST, PolicyFile, read

pytestmark = pytest.mark.usefixtures("every_level_is_logged")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A policy that asks two."""
    file = tmp_path / "policy.toml"
    _write(file, 2)
    return file


def _write(path: Path, quorum: int) -> None:
    """Another file in its place, as an editor or an orchestrator puts it."""
    beside = path.with_suffix(".new")
    beside.write_text(f"version = 1\n[default]\nquorum = {quorum}")
    os.replace(beside, path)  # noqa: PTH105 - replacing is what is meant


def test_without_a_file_the_built_in_policy_counts() -> None:
    """No file is a choice that stays as it is."""
    assert PolicyFile(None).current() is BUILT_IN


def test_a_change_counts_from_the_next_question_on(path: Path) -> None:
    """Nobody restarts anything for another quorum; the log names both versions."""
    file = PolicyFile(path)
    first = file.current()
    assert file.current() is first
    _write(path, 3)
    with capture_logs() as logs:
        assert file.current().default.quorum == 3
        assert file.current().default.quorum == 3
    assert [(line["before"], line["version"]) for line in logs] == [(first.digest(), file.current().digest())]


def test_a_change_that_cannot_be_used_changes_nothing_and_is_said_once(path: Path) -> None:
    """The last good version stays in force until the file is mended."""
    file = PolicyFile(path)
    path.write_text("version = 1\n[default]\nquorum = 0")
    with capture_logs() as logs:
        assert [file.current().default.quorum for _ in range(3)] == [2, 2, 2]
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "default.quorum" in logs[0]["fault"]
    _write(path, 4)
    assert file.current().default.quorum == 4


def test_a_file_that_vanishes_takes_no_rule_with_it(path: Path) -> None:
    """Deleting the file does not fall back to asking one person."""
    file = PolicyFile(path)
    path.unlink()
    assert file.current().default.quorum == 2
    _write(path, 3)
    assert file.current().default.quorum == 3


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe", b"#" * (BYTES_MOST + 1), b""], ids=["missing", "no text", "too large", "empty"]
)
def test_a_start_without_a_good_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Where nothing good has ever been read, nothing is decided by a guess."""
    file = tmp_path / "policy.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput, match=r"policy\.toml"):
        PolicyFile(file)
    with pytest.raises(BadInput):
        read(file)
