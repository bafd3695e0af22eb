"""The contract of the SDKs, executed: every case that concerns Python, on each way to drive the core."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest
from sdk.python.tests import contract
from sdk.python.tests.virtual import AsyncScriptedServer, ScriptedServer, VirtualLoop, VirtualTime

from headwater_sdk import AsyncClient, Client, FlushReport
from headwater_sdk._async import AsyncPipeline
from headwater_sdk._core import Core
from headwater_sdk._pipeline import Pipeline
from headwater_sdk._shell import Shell

WIRE = contract.cases("wire")
BEHAVIOUR = contract.cases("behaviour")
Run = Callable[[contract.Case, list[dict[str, Any]]], "tuple[ScriptedServer, FlushReport]"]


def _numbered() -> Callable[[], str]:
    count = iter(range(1, 1_000_000))
    return lambda: f"m{next(count)}"


def _shell(
    case: contract.Case, client: Any, time: VirtualTime, server: ScriptedServer, participants: int
) -> Shell:
    chance = case.get("random", contract.DEFAULTS["random"])
    settings = client.settings
    return Shell(
        core=lambda: Core(settings.limits, time.monotonic, time.wall, lambda: chance),
        transport=lambda: server,
        target=settings.target,
        monotonic=time.monotonic,
        wall=time.wall,
        condition=time.condition(participants),
    )


def _run(
    case: contract.Case, answers: list[dict[str, Any]], *, threaded: bool
) -> tuple[ScriptedServer, FlushReport]:
    time = VirtualTime(contract.clock(case).timestamp())
    client = Client(host="http://collector.test", **contract.config(case))
    server = ScriptedServer(time, client.settings.target, answers)
    client._new_id, client._wall = _numbered(), time.wall
    client._pipeline = Pipeline(
        _shell(case, client, time, server, 2 if threaded else 1), threaded=threaded, exit_timeout=0
    )
    _make_calls(case, client, server)
    report = client.flush(case.get("flushTimeout_s"))
    client.shutdown(0)
    return server, report


def _make_calls(case: contract.Case, client: Any, server: ScriptedServer) -> None:
    def make(number: int) -> None:
        for step in case["calls"]:
            if step.get("during", 0) == number:
                contract.call(client, step)

    server.during = make
    make(0)


def in_a_thread(case: contract.Case, answers: list[dict[str, Any]]) -> tuple[ScriptedServer, FlushReport]:
    """The background thread delivers."""
    return _run(case, answers, threaded=True)


def in_the_call(case: contract.Case, answers: list[dict[str, Any]]) -> tuple[ScriptedServer, FlushReport]:
    """The calling thread delivers: synchronous mode, and exit."""
    return _run(case, answers, threaded=False)


def in_a_task(case: contract.Case, answers: list[dict[str, Any]]) -> tuple[ScriptedServer, FlushReport]:
    """A task of an asyncio loop delivers."""
    time = VirtualTime(contract.clock(case).timestamp())
    options = contract.config(case)
    if options["overflow"] == "block":
        return _run(
            case, answers, threaded=True
        )  # asyncio has no blocking calls: AsyncClient refuses the policy
    client = AsyncClient(host="http://collector.test", **options)
    server = ScriptedServer(time, client.settings.target, answers)
    client._new_id, client._wall = _numbered(), time.wall
    client._pipeline = AsyncPipeline(
        _shell(case, client, time, server, 1),
        lambda: AsyncScriptedServer(server, client.settings.target.timeout),
        exit_timeout=0,
    )

    async def program() -> FlushReport:
        _make_calls(case, client, server)
        report = await client.flush(case.get("flushTimeout_s"))
        await client.close(0)
        return report

    loop = VirtualLoop(time)
    try:
        return server, loop.run_until_complete(program())
    finally:
        loop.close()


SHELLS = [in_a_thread, in_the_call, in_a_task]


@pytest.mark.parametrize("run", SHELLS)
@pytest.mark.parametrize("case", WIRE, ids=[case["name"] for case in WIRE])
def test_a_call_becomes_exactly_this_request(case: contract.Case, run: Run) -> None:
    """Path, headers and body, byte for byte as JSON."""
    server, report = run(case, [{"status": 200, "body": {"success": True}}] * len(case["requests"]))
    assert [request["body"] for request in server.requests] == [
        contract.expected_body(case, wanted["body"]) for wanted in case["requests"]
    ]
    for request in server.requests:
        assert request["path"] == contract.PROFILE["path"]
        assert request["headers"] == contract.PROFILE["headers"]
    assert report.ok


@pytest.mark.parametrize("run", SHELLS)
@pytest.mark.parametrize("case", BEHAVIOUR, ids=[case["name"] for case in BEHAVIOUR])
def test_an_answer_has_exactly_these_consequences(case: contract.Case, run: Run) -> None:
    """What is sent again, after how long, and what is reported."""
    server, report = run(case, case["answers"])
    wanted = case["requests"]
    assert [[event["messageId"] for event in request["body"]["batch"]] for request in server.requests] == [
        contract.ids(request["messageIds"]) for request in wanted
    ]
    before = 0.0
    for request, want in zip(server.requests, wanted):
        assert request["at"] - before == pytest.approx(want["after_s"], abs=1e-3)
        before = request["at"]
        for name, value in want.get("headers", {}).items():
            assert request["headers"].get(name) == value
        assert request["body"]["sentAt"] == want.get("sentAt", request["body"]["sentAt"])
        stamps = [event["timestamp"] for event in request["body"]["batch"]]
        assert stamps == want.get("timestamps", stamps)
    assert (report.delivered, report.queued) == (case["report"]["delivered"], case["report"]["queued"])
    contract.assert_items(report.rejected, case["report"]["rejected"])
    contract.assert_items(report.dropped, case["report"]["dropped"])


def test_every_case_has_a_name_of_its_own_that_the_readme_lists() -> None:
    """The list in the contract's README is the list of cases, and each concerns an SDK that has a profile."""
    listed = (contract.ROOT / "README.md").read_text()
    names = []
    for path in sorted(contract.ROOT.glob("*/*.json")):
        assert f"### {path.parent.name}/{path.name}" in listed
        for case in json.loads(path.read_text()):
            names.append(case["name"])
            sdks = case.get("sdks")
            assert f"* {case['name']}" + (f" ({', '.join(sdks)})" if sdks else "") + "\n" in listed, case[
                "name"
            ]
            assert set(sdks or []) <= contract.PROFILES.keys() - {"defaults"}
    assert len(set(names)) == len(names)
    assert listed.count("\n* ") - listed.split("## The cases")[0].count("\n* ") == len(names)


def test_the_package_has_the_version_of_all_sdks() -> None:
    """One file says the version; each package repeats it."""
    import headwater_sdk

    assert headwater_sdk.__version__ == contract.VERSION
