"""Java programs of the tests: their jars by Maven into a cache folder, compiled by a jar, so that a JRE is enough."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from headwater.dev.kafka import jars
from tests.support.running import environment


def libs(pom: Path) -> Path:
    """The folder of the jars that a pom names, fetched once; a jar with a wrong checksum fails."""
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    place = jars.home().parent / f"jdbc-{digest}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as aside:
                _fetch(pom, Path(aside) / "libs")
                (Path(aside) / "libs").rename(place)
    return place


def run(pom: Path, source: Path, folder: Path, *arguments: str) -> str:
    """Compile one file into a folder and run it: what it prints."""
    path = f"{libs(pom)}/*"
    compiler = ["-cp", path, "org.eclipse.jdt.internal.compiler.batch.Main", "-17", "-proc:none"]
    _java(*compiler, "-cp", ":".join(str(jar) for jar in libs(pom).iterdir()), "-d", str(folder), str(source))
    return _java("-cp", f"{folder}:{path}", source.stem, *arguments)


def _java(*arguments: str) -> str:
    done = subprocess.run(
        [jars.java(), "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC", "-Dfile.encoding=UTF-8", *arguments],
        capture_output=True, text=True, timeout=80, check=False, env={**environment(), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _fetch(pom: Path, folder: Path) -> None:
    mvn = shutil.which("mvn")
    assert mvn is not None, "no mvn in PATH; Debian: apt-get install maven"
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    done = subprocess.run(
        [mvn, "-q", "-B", "-C", "-f", str(pom), *goal],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
