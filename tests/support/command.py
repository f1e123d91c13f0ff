"""The command line in this process: its exit code, what it says, and that it says it without a traceback."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import orjson
from tests.support.processes import environment

from callgate.cli.main import main


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return orjson.loads(self.out)


def callgate(*arguments: str, **settings: str) -> Ran:
    """Run a command with these settings and no others; anything but an exit is a defect and is raised."""
    return feed(b"", *arguments, **settings)


def feed(stdin: bytes, /, *arguments: str, **settings: str) -> Ran:
    """The same with something on its standard input."""
    out, err = io.StringIO(), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin))
    code: object = 0
    with (
        patch.dict("os.environ", _only(settings), clear=True),
        patch.object(sys, "argv", ["callgate", *arguments]),
        patch.object(sys, "stdin", given),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code
    assert "Traceback" not in err.getvalue()
    assert code is None or isinstance(code, int)
    return Ran(code or 0, out.getvalue(), err.getvalue())


def _only(settings: Mapping[str, str]) -> dict[str, str]:
    return environment(**settings)
