"""From `module:attribute` on a command line to a toolbox."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType

from callgate.failures import BadInput
from callgate.tools.toolbox import Toolbox

_FIELD = "--tools"


def load_toolbox(address: str) -> Toolbox:
    """The toolbox at `address`. Raises BadInput; whatever the user's module raises is told in one line."""
    module_name, separator, path = address.partition(":")
    if not separator or not module_name.strip() or not path.strip():
        raise BadInput(_FIELD, f"{address!r} names no toolbox", "Write it as module:attribute, such as tools:toolbox")
    found: object = _module(module_name.strip())
    for part in path.strip().split("."):
        if not hasattr(found, part):
            raise BadInput(_FIELD, f"{module_name} has no {path!r}", _suggestion(module_name))
        found = getattr(found, part)
    if not isinstance(found, Toolbox):
        raise BadInput(_FIELD, f"{address} is a {type(found).__name__}, not a Toolbox", _suggestion(module_name))
    if len(found) == 0 and not found.open:
        raise BadInput(_FIELD, f"{address} holds no tools", "Register one with @toolbox.tool")
    return found


def _module(name: str) -> ModuleType:
    here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadInput(
                _FIELD, f"there is no module {name!r}", f"Name a module in {here} or an installed one"
            ) from error
        raise _broken(name, error) from error
    except BadInput as error:
        raise BadInput(f"{_FIELD} {name}: {error.field}", error.problem, error.way_out) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> BadInput:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    said = str(error).splitlines()[0][:200] if str(error) else ""
    return BadInput(_FIELD, f"importing {name} fails: {type(error).__name__}: {said}{place}", "Mend the module")


def _suggestion(name: str) -> str:
    boxes = sorted(key for key, value in vars(sys.modules[name]).items() if isinstance(value, Toolbox))
    if boxes:
        return f"It has {', '.join(f'{name}:{box}' for box in boxes)}"
    return "Make one in it with `toolbox = Toolbox()` and name it module:toolbox"
