"""Where the recorded material of other people lies, and a skip that names what is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def corpus(name: str) -> Path:
    """A file or folder of the corpora; skips the test by its name where it is absent."""
    folder = Path(os.environ.get("CALLGATE_CORPORA", ROOT.parent / "shared" / "corpora"))
    path = folder / name
    if not path.exists():
        pytest.skip(f"corpus {name} is not in {folder}; set CALLGATE_CORPORA")
    return path
