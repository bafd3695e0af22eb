"""The jars of Kafka: fetched once with Maven into a cache folder; and the Java that runs them.

`HEADWATER_KAFKA_HOME` names another folder; an unpacked Kafka distribution (with its `libs/`) serves as it is.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from headwater.errors import HeadwaterError

HOME = "HEADWATER_KAFKA_HOME"
OLDEST_JAVA = 17
FETCH_S = 600.0
_STAMP = "pom.xml"  # a copy of what was installed: another pom is another installation
_VERSION = re.compile(r"<kafka.version>([^<]+)<")
_JAVA_VERSION = re.compile(r'version "(\d+)')


class KafkaNotInstalled(HeadwaterError):
    """Java, Maven or the jars are missing and could not be fetched."""


def version() -> str:
    """The version of Kafka that the pom names."""
    found = _VERSION.search(resource("pom.xml"))
    assert found is not None
    return found[1]


def resource(name: str) -> str:
    """A file that lies beside this module, also in an installed package."""
    return resources.files(__package__).joinpath(name).read_text()


def home() -> Path:
    """The folder that holds, or will hold, `libs/`."""
    chosen = os.environ.get(HOME)
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "headwater" / f"kafka-{version()}"


def installed() -> bool:
    """Whether the jars are there, so that a start fetches nothing."""
    return _installed(home())


def libs() -> Path:
    """The folder of the jars, fetched now where they are missing. Raises KafkaNotInstalled."""
    place = home()
    if _installed(place):
        return place / "libs"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone(place.with_name(f"{place.name}.lock")):
            if not _installed(place):
                _install(place)
    except OSError as error:
        raise KafkaNotInstalled(
            f"cannot write Kafka's jars to {place}: {error.strerror}; name another folder with {HOME}"
        ) from error
    return place / "libs"


def java() -> str:
    """The path of a Java that can run Kafka. Raises KafkaNotInstalled."""
    advice = f"Kafka needs Java {OLDEST_JAVA} or later; Debian: apt-get install default-jre-headless"
    under = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{under}/bin") if under else shutil.which("java")
    if found is None:
        raise KafkaNotInstalled(f"no java in {under + '/bin (JAVA_HOME)' if under else 'PATH'}; {advice}")
    told = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    match = _JAVA_VERSION.search(told.stderr)
    if match is None or int(match[1]) < OLDEST_JAVA:
        line = told.stderr.strip().splitlines()[:1]
        raise KafkaNotInstalled(f"{found} says {line[0] if line else 'nothing'!r}; {advice}")
    return found


def _installed(place: Path) -> bool:
    if not any((place / "libs").glob("kafka-clients-*.jar")):
        return False
    stamp = place / _STAMP
    return not stamp.exists() or stamp.read_text() == resource("pom.xml")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process installs."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _install(place: Path) -> None:
    """Fetch into a folder aside, then put it in place whole."""
    mvn = shutil.which("mvn")
    if mvn is None:
        raise KafkaNotInstalled(
            f"Kafka's jars are not in {place / 'libs'} and there is no mvn in PATH to fetch them; "
            f"Debian: apt-get install maven; or set {HOME} to an unpacked Apache Kafka"
        )
    java()  # Maven's own words for a missing Java help nobody
    with tempfile.TemporaryDirectory(prefix=f"{place.name}.", dir=place.parent) as aside:
        fresh = Path(aside) / "new"
        fresh.mkdir()
        (fresh / _STAMP).write_text(resource("pom.xml"))
        _fetch(mvn, fresh)
        if place.exists():
            place.rename(Path(aside) / "old")
        fresh.rename(place)


def _fetch(mvn: str, folder: Path) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'libs'}"]
    command = [mvn, "-q", "-B", "-f", str(folder / _STAMP), *goal]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise KafkaNotInstalled(f"Maven did not fetch Kafka's jars within {FETCH_S:.0f} s") from None
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise KafkaNotInstalled(f"Maven could not fetch Kafka's jars ({' '.join(command)}):\n{words}")
