"""Kafka's jars, fetched through Maven once and kept beside the project."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / ".kafka"
"""Where jars and data are; git ignores it."""

DOWNLOAD_SECONDS = 900.0
"""How long Maven may take: about 100 MB the first time."""


class NoBroker(Exception):  # noqa: N818 - named for what there is not
    """A broker can't be had here; says why, and what would help."""


def jars() -> Path:
    """The folder with the jars that the pom names. Safe when several processes ask at once. Raises NoBroker."""
    pom = HERE / "pom.xml"
    folder = FOLDER / f"jars-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "jars.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(pom, folder)
    return folder


def java() -> str:
    """The path of a Java that runs the broker. Raises NoBroker."""
    found = shutil.which("java")
    if found is None:
        raise NoBroker("there is no `java` here. Install a JDK, 17 or later")
    return found


def _fetch(pom: Path, folder: Path) -> None:
    java()
    maven = shutil.which("mvn")
    if maven is None:
        raise NoBroker("there is no `mvn` here. Install Maven")
    # Into another folder first: one that is there is complete.
    half = folder.with_suffix(".part")
    shutil.rmtree(half, ignore_errors=True)
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={half}", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoBroker(f"Maven did not fetch Kafka's jars within {DOWNLOAD_SECONDS:.0f} s") from None
    if done.returncode != 0 or not any(half.glob("kafka_*.jar")):
        said = (done.stdout + done.stderr).strip().splitlines()
        raise NoBroker(f"Maven could not fetch Kafka's jars: {said[0] if said else 'it does not say why'}")
    half.rename(folder)
