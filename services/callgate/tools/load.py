"""From `module:attribute` on a command line to a toolbox."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from callgate.failures import BadInput
from callgate.tools.toolbox import Toolbox

T = TypeVar("T")

_FIELD = "--tools"


def load_toolbox(address: str) -> Toolbox:
    """The toolbox at `address`, or the one that a function there makes.

    Raises BadInput; whatever the user's code raises is told in one line.
    """
    module_name, separator, path = address.partition(":")
    if not separator or not module_name.strip() or not path.strip():
        raise BadInput(_FIELD, f"{address!r} names no toolbox", "Write it as module:attribute, such as tools:toolbox")
    found: object = _module(module_name.strip())
    for part in path.strip().split("."):
        if not hasattr(found, part):
            raise BadInput(_FIELD, f"{module_name} has no {path!r}", _suggestion(module_name))
        found = getattr(found, part)
    if inspect.isfunction(found):
        found = _ran(module_name, found)
    if not isinstance(found, Toolbox):
        raise BadInput(_FIELD, f"{address} is a {type(found).__name__}, not a Toolbox", _suggestion(module_name))
    if len(found) == 0 and not found.open:
        raise BadInput(_FIELD, f"{address} holds no tools", "Register one with @toolbox.tool")
    return found


def _module(name: str) -> ModuleType:
    """A command finds the modules of the folder that it was started in, as `python -m` does."""
    here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if here not in sys.path:
        sys.path.insert(0, here)
    return _ran(name, lambda: importlib.import_module(name))


def _ran(name: str, code: Callable[[], T]) -> T:
    """Run the user's code at import time; whatever it raises becomes a BadInput, also an attempt to exit."""
    try:
        return code()
    except BadInput as error:
        raise BadInput(f"{_FIELD} {name}: {error.field}", error.problem, error.way_out) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> BadInput:
    """Where the user's code fails: the innermost line, not the way to it."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and (name == missing or name.startswith(f"{missing}.")):
        return BadInput(_FIELD, f"there is no module {name!r}", "Name one in this folder or an installed one")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    said = str(error).splitlines()[0][:200] if str(error) else ""
    return BadInput(_FIELD, f"{name} fails: {type(error).__name__}: {said}{place}", "Mend the module")


def _suggestion(name: str) -> str:
    """What the module does hold, where it holds a toolbox."""
    boxes = sorted(key for key, value in vars(sys.modules[name]).items() if isinstance(value, Toolbox))
    if boxes:
        return f"It has {', '.join(f'{name}:{box}' for box in boxes)}"
    return "Make one in it with `toolbox = Toolbox()` and name it module:toolbox"
