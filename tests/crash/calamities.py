"""What may happen to a cluster, drawn at random: each calamity says what it hits, how, for how long, and how it is mended."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.crash.fleet import Fleet, Host
from tests.crash.jumping import jump
from tests.support.proxy import Proxy

FREEZE_S = 9.0  # longer than the session timeout of 6 s: the others take over, and the frozen one wakes up as a zombie
DAY_S = 86_400.0
NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Calamity:
    """One thing that happens; while it lasts nothing else happens to what it `holds`."""

    name: str
    holds: frozenset[str]
    lasts_s: float
    hit: Callable[[], None]
    mend: Callable[[], None]


Draw = Callable[[Fleet, random.Random], Calamity]


def _any(fleet: Fleet, rng: random.Random, stage: str) -> Host:
    return rng.choice(fleet.of(stage))


def kill(stage: str) -> Draw:
    """SIGKILL of a process; started again after a pause."""

    def draw(fleet: Fleet, rng: random.Random) -> Calamity:
        host = _any(fleet, rng, stage)
        return Calamity(
            f"kill {stage}",
            frozenset((host.name,)),
            rng.uniform(0.1, 3),
            lambda: host.send(signal.SIGKILL),
            host.start,
        )

    return draw


def freeze(stage: str) -> Draw:
    """SIGSTOP for longer than the session timeout, then SIGCONT: a zombie."""

    def draw(fleet: Fleet, rng: random.Random) -> Calamity:
        host = _any(fleet, rng, stage)
        return Calamity(
            f"freeze {stage}",
            frozenset((host.name,)),
            FREEZE_S + rng.uniform(0, 2),
            lambda: host.send(signal.SIGSTOP),
            lambda: host.send(signal.SIGCONT),
        )

    return draw


def lose_state(fleet: Fleet, rng: random.Random) -> Calamity:
    """SIGKILL of a processor whose state folder is gone when it comes back."""
    host = _any(fleet, rng, "processor")

    def hit() -> None:
        host.send(signal.SIGKILL)
        host.forget_state()

    return Calamity(
        "delete a processor's state", frozenset((host.name,)), rng.uniform(0.1, 2), hit, host.start
    )


def kill_broker(fleet: Fleet, rng: random.Random) -> Calamity:
    """SIGKILL of a broker, which comes back with its disk."""
    number = rng.randint(1, fleet.size)
    return Calamity(
        "kill broker",
        frozenset(("broker",)),  # one at a time: two of three may not fail together
        rng.uniform(0.5, 5),
        lambda: fleet.cluster.kill(number),
        lambda: fleet.cluster.restart(number),
    )


def freeze_broker(fleet: Fleet, rng: random.Random) -> Calamity:
    """SIGSTOP of a broker for longer than its own session."""
    number = rng.randint(1, fleet.size)
    return Calamity(
        "freeze broker",
        frozenset(("broker",)),
        rng.uniform(4, FREEZE_S),
        lambda: fleet.cluster.kill(number, signal.SIGSTOP),
        lambda: fleet.cluster.kill(number, signal.SIGCONT),
    )


def _fault(proxy: Proxy, rng: random.Random, only: int | None) -> tuple[str, Callable[[], None]]:
    slow = rng.uniform(0.05, 0.4)
    faults: list[tuple[str, Callable[[], None]]] = [
        ("stall", lambda: proxy.stall(only=only)),
        ("cut up", lambda: proxy.cut("up", only=only)),
        ("cut down", lambda: proxy.cut("down", only=only)),
        ("delay", lambda: proxy.delay(slow, only=only)),
        ("reset", lambda: proxy.reset(only=only)),
        ("refuse", lambda: proxy.refuse(only=only)),
    ]
    return rng.choice(faults)


def cut_host(fleet: Fleet, rng: random.Random) -> Calamity:
    """The network between one process and all brokers fails."""
    host = rng.choice(list(fleet.hosts.values()))
    seed, pid = rng.random(), host.pid
    faults = [_fault(proxy, random.Random(seed), pid) for proxy in fleet.proxies.values()]

    def hit() -> None:
        for _, fault in faults:
            fault()

    holds = frozenset((host.name, NETWORK))
    return Calamity(
        f"network {host.stage}-brokers: {faults[0][0]}",
        holds,
        rng.uniform(1, 11),
        hit,
        _healer(fleet.proxies),
    )


def cut_broker(fleet: Fleet, rng: random.Random) -> Calamity:
    """The network between one broker and all its clients fails."""
    proxy = rng.choice(list(fleet.proxies.values()))
    name, fault = _fault(proxy, rng, None)
    return Calamity(
        f"network broker-clients: {name}", frozenset((NETWORK,)), rng.uniform(1, 8), fault, proxy.heal
    )


def cut_replicas(fleet: Fleet, rng: random.Random) -> Calamity:
    """The network between one broker and the brokers that copy from it fails."""
    proxy = rng.choice(list(fleet.replication.values()))
    name, fault = _fault(proxy, rng, None)
    holds = frozenset(("broker",))  # with a broker down too, two of three would be missing
    return Calamity(f"network broker-brokers: {name}", holds, rng.uniform(1, 8), fault, proxy.heal)


def jump_clock(fleet: Fleet, rng: random.Random) -> Calamity:
    """The wall clock of one host jumps, and later back."""
    host = rng.choice(list(fleet.hosts.values()))
    seconds = rng.choice([-2 * DAY_S, -3_600.0, -30.0, 30.0, 3_600.0, 2 * DAY_S])
    return Calamity(
        f"clock of {host.stage} {'ahead' if seconds > 0 else 'back'}",
        frozenset((f"clock of {host.name}",)),
        rng.uniform(2, 12),
        lambda: jump(host.clock, seconds),
        lambda: jump(host.clock, 0),
    )


def _healer(proxies: dict[int, Proxy]) -> Callable[[], None]:
    def heal() -> None:
        for proxy in proxies.values():
            proxy.heal()

    return heal


def deck(brokers: int) -> list[Draw]:
    """One of each; those that matter most more often."""
    cards: list[Draw] = [
        kill("collector"),
        kill("processor"),
        kill("processor"),
        kill("destination"),
        freeze("processor"),
        freeze("processor"),
        freeze("collector"),
        freeze("destination"),
        lose_state,
        kill_broker,
        freeze_broker,
        cut_host,
        cut_host,
        cut_host,
        cut_broker,
        jump_clock,
        jump_clock,
    ]
    return [*cards, cut_replicas] if brokers > 1 else cards
