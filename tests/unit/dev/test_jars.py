"""What a start says where Java, Maven or the jars are missing, and how the jars come into the cache."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.dev.kafka import jars

MVN = """#!/bin/sh
for word in "$@"; do case "$word" in -DoutputDirectory=*) out="${word#*=}"; esac; done
echo run >> %s
mkdir -p "$out" && touch "$out/kafka-clients-1.jar"
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing in it but what the test puts there, and a cache of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv(jars.HOME, str(tmp_path / "cache" / "kafka"))
    return folder


def program(path: Path, text: str) -> None:
    """An executable script."""
    path.write_text(text)
    path.chmod(0o755)


def java(tools: Path, version: str) -> None:
    """A java that only tells its version."""
    program(tools / "java", f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")


def mvn(tools: Path, tmp_path: Path) -> Path:
    """A mvn that brings one jar; returns the file in which it notes each run."""
    notes = tmp_path / "runs"
    program(tools / "mvn", f"#!/bin/sh\nPATH={shlex.quote(os.defpath)}\n{MVN % notes}")
    return notes


def test_no_java_is_told_with_the_package_that_brings_it(tools: Path) -> None:
    """The message names what is missing and what to type."""
    with pytest.raises(
        jars.KafkaNotInstalled, match=r"no java in PATH.*apt-get install default-jre-headless"
    ):
        jars.java()


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22"])
def test_an_old_java_is_told_with_its_version(tools: Path, version: str) -> None:
    """Kafka would end with a trace about class file versions."""
    java(tools, version)
    with pytest.raises(jars.KafkaNotInstalled, match=rf"{version}.*needs Java 17 or later"):
        jars.java()


@pytest.mark.parametrize("version", ["17.0.15", "21", "25-ea"])
def test_a_java_that_is_new_enough_is_taken(tools: Path, version: str) -> None:
    """From 17 on."""
    java(tools, version)
    assert jars.java() == str(tools / "java")


def test_no_maven_is_told_with_the_package_that_brings_it(tools: Path) -> None:
    """And with the other way out: an unpacked Kafka."""
    java(tools, "17")
    with pytest.raises(jars.KafkaNotInstalled, match=rf"no mvn in PATH.*apt-get install maven.*{jars.HOME}"):
        jars.libs()


def test_maven_runs_once_and_again_when_the_pom_is_another(tools: Path, tmp_path: Path) -> None:
    """The cache belongs to one list of jars."""
    java(tools, "17")
    notes = mvn(tools, tmp_path)
    assert not jars.installed()
    folder = jars.libs()
    assert [path.name for path in folder.iterdir()] == ["kafka-clients-1.jar"]
    assert jars.libs() == folder
    assert jars.installed()
    assert notes.read_text() == "run\n"
    (folder.parent / "pom.xml").write_text("<an-older-list/>")
    (folder / "gone.jar").touch()
    assert [path.name for path in jars.libs().iterdir()] == ["kafka-clients-1.jar"]
    assert notes.read_text() == "run\nrun\n"


def test_two_processes_that_need_the_jars_fetch_them_once(tools: Path, tmp_path: Path) -> None:
    """The second waits for the first."""
    java(tools, "17")
    notes = mvn(tools, tmp_path)
    command = [sys.executable, "-c", "from headwater.dev.kafka import jars; print(jars.libs())"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = {process.communicate(timeout=60)[0].strip() for process in both}
    assert told == {str(tmp_path / "cache" / "kafka" / "libs")}
    assert notes.read_text() == "run\n"


def test_a_failing_maven_leaves_nothing_and_its_words_are_told(tools: Path, tmp_path: Path) -> None:
    """The next start tries anew."""
    java(tools, "17")
    program(tools / "mvn", "#!/bin/sh\necho 'Could not transfer artifact'\nexit 1\n")
    with pytest.raises(jars.KafkaNotInstalled, match="Could not transfer artifact"):
        jars.libs()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["kafka.lock"]


def test_an_unpacked_kafka_is_used_as_it_is(tools: Path, tmp_path: Path) -> None:
    """HEADWATER_KAFKA_HOME may name a distribution; Maven is not needed then."""
    libs = tmp_path / "cache" / "kafka" / "libs"
    libs.mkdir(parents=True)
    (libs / "kafka-clients-4.0.0.jar").touch()
    assert jars.libs() == libs
