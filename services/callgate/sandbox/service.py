"""The sandbox as a process, and as something that a test enters and leaves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
from aiohttp import web

from callgate.clock import Clock, SystemClock
from callgate.failures import BadInput
from callgate.sandbox.faults import Faults, load_faults
from callgate.sandbox.model.script import Script, load_script
from callgate.sandbox.model.server import ModelServer
from callgate.sandbox.policy import Policy, load_policy
from callgate.sandbox.server import application
from callgate.sandbox.store import Store

_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - read, not bound
_DRAIN_SECONDS = 1.0


class Sandbox:
    """A running sandbox for as long as the context lasts. Port 0 takes a free one.

    Raises `BadInput` on entering where the port is taken or the state file can't be used.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        policy: Policy | None = None,
        faults: Faults | None = None,
        state: Path | None = None,
        script: Script | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Nothing is opened before the context is entered."""
        self._host = host
        self._port = port
        self._policy = policy or Policy()
        self._faults = faults or Faults()
        self._state = state
        self._clock = clock or SystemClock()
        self.model = ModelServer(script or Script(), self._clock)
        """The model; its journal is for tests to look at."""
        self._runner: web.AppRunner | None = None
        self._store: Store | None = None

    @property
    def url(self) -> str:
        """The base URL for the SDK. Only valid inside the context."""
        if self._runner is None or not self._runner.addresses:
            message = "the sandbox is not running"
            raise RuntimeError(message)
        host = _ANY_HOST.get(self._host, self._host)
        port = self._runner.addresses[0][1]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def model_url(self) -> str:
        """The base URL for the model's SDK. Only valid inside the context."""
        return f"{self.url}/v1"

    @property
    def store(self) -> Store:
        """What the sandbox remembers; for tests to look at. Only valid inside the context."""
        if self._store is None:
            message = "the sandbox is not running"
            raise RuntimeError(message)
        return self._store

    async def __aenter__(self) -> Self:
        """Open the state and listen."""
        self._store = Store(self._state)
        app = application(self._store, self._policy, self._faults, self._clock, self.model)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_DRAIN_SECONDS)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._close()
            where = f"{self._host}:{self._port}"
            raise BadInput(
                "--port", f"{where} can't be bound ({error.strerror})", "Use --port 0 for a free one"
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what is being answered, and close."""
        await self._close()

    async def _close(self) -> None:
        await self.model.aclose()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._store is not None:
            self._store.close()
            self._store = None


async def run_sandbox(
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    policy: Path | None = None,
    faults: Path | None = None,
    state: Path | None = None,
    script: Path | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT. `announce` gets one line of JSON once requests are answered.

    Raises `BadInput` for a file, a port or an address that can't be used.
    """
    sandbox = Sandbox(
        host,
        port,
        policy=load_policy(policy) if policy is not None else None,
        faults=load_faults(faults) if faults is not None else None,
        state=state,
        script=load_script(script) if script is not None else None,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    async with sandbox:
        line = {
            "bighub": sandbox.url,
            "model": sandbox.model_url,
            "policy": str(policy) if policy is not None else "allow all",
        }
        if state is not None:
            line["state"] = str(state)
        announce(orjson.dumps(line).decode())
        await stop.wait()
