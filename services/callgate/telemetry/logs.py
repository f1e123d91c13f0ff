"""Logs: structured, to stderr, JSON for machines and readable on a terminal.

Standard output belongs to what a command answers. Secrets need no filter here, because `Secret` shows only stars. What
libraries log is shown in the same form, from warnings on; where only errors are wanted, not at all: whatever stops a
command is said by the command.
"""

from __future__ import annotations

import logging
import sys

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""The levels that the settings know."""


def configure(level: str = "info", *, json: bool | None = None) -> None:
    """Set up logging for the whole process; `json` None means JSON unless stderr is a terminal."""
    as_json = not sys.stderr.isatty() if json is None else json
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        # The default shows the variables of every frame: arguments, tokens and keys.
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if as_json:
        processors.append(structlog.processors.format_exc_info)
    _adopt_libraries(level, processors, renderer)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_stderr,
        cache_logger_on_first_use=False,
    )


def _adopt_libraries(
    level: str, processors: list[structlog.typing.Processor], renderer: structlog.typing.Processor
) -> None:
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *processors],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Stderr)]:
        root.removeHandler(old)
    root.addHandler(handler)
    handler.setLevel(logging.CRITICAL if level == "error" else max(LEVELS[level], logging.WARNING))
    # It calls every rebalance an error, and with brokers away it writes many lines a second. The engine says what
    # matters of it, once.
    logging.getLogger("aiokafka").setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)


class _Stderr(logging.Handler):
    """Writes to whatever standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        print(self.format(record), file=sys.stderr)  # noqa: T201 - this is where logs go


def _stderr(*_: object) -> structlog.typing.WrappedLogger:
    # Looked up at each use, so that whoever replaces sys.stderr (a test runner, a redirect) gets the lines.
    return structlog.PrintLogger(sys.stderr)
