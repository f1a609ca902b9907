"""Whatever JSON, whatever bytes, whatever the OpenAPI document allows: never a 500, never another shape."""

from __future__ import annotations

import json
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from benchmarks.runner import Bar
from benchmarks.serviced.books import Book
from benchmarks.serviced.effort import Effort, Figures
from benchmarks.serviced.processes import Served, service

_PATHS = ("/score", "/v2/models/leanrisk/infer")


def measured(place: Path, book: Book, effort: Effort) -> tuple[Figures, list[Bar]]:
    """Return figures and bars."""
    folder = place / "fuzz"
    folder.mkdir()
    statuses: Counter[int] = Counter()
    faults = 0
    record = json.loads(book.records.read_text(encoding="utf-8").splitlines()[0])
    with service(folder, f'bundle = "{book.bundle}"\n') as one:
        for path in _PATHS:
            faults += _fuzzed(one, path, record, effort.examples, statuses)
        faults += _allowed(one, effort.examples, statuses)
        alive = one.process.poll() is None
    figures: Figures = {f"fuzz_{status}": count for status, count in sorted(statuses.items())}
    return figures, [
        Bar.at_most(
            "answers 500 and above to whatever was sent", sum(statuses[each] for each in statuses if each > 499), 0
        ),
        Bar.at_most("answers of another shape than documented", faults, 0),
        Bar.at_least("the service still runs", int(alive), 1),
    ]


def _fuzzed(one: Served, path: str, record: dict[str, object], examples: int, statuses: Counter[int]) -> int:
    """Send JSON values, altered records and cut bytes; return how many answers had no documented shape."""
    names = [*list(record)[:6], "decision_id", "inputs", "other"]
    value = some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
        lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from(names), inner, max_size=3),
        max_leaves=8,
    )
    altered = some.dictionaries(some.sampled_from(names), value, max_size=4).map(lambda change: {**record, **change})
    names_of = some.sampled_from(names)
    tensor = some.fixed_dictionaries(
        {"name": names_of, "data": value, "shape": some.lists(some.integers(-1, 4), max_size=3), "datatype": value}
    )
    whole = json.dumps(record).encode()
    cut = some.tuples(some.integers(0, len(whole)), some.binary(max_size=40), some.integers(0, len(whole)))
    told = (value | altered | some.fixed_dictionaries({"inputs": some.lists(tensor, max_size=3)})).map(
        lambda each: json.dumps(each).encode()
    ) | cut.map(lambda each: whole[: each[0]] + each[1] + whole[each[2] :])
    connection, wrong = HTTPConnection("127.0.0.1", one.port, timeout=60), [0]

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
        derandomize=True,
    )
    @given(told)
    def sent(body: bytes) -> None:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        statuses[answer.status] += 1
        wrong[0] += not _in_shape(answer.status, text)

    sent()
    connection.close()
    return wrong[0]


def _in_shape(status: int, text: bytes) -> bool:
    told: dict[str, Any] = json.loads(text)
    if status != 200:
        return {"error", "code", "request_id"} <= told.keys()
    if "outputs" in told:
        return all(output["shape"] == [len(output["data"])] for output in told["outputs"])
    return all(0 <= one["probability"] <= 1 for one in told.get("results", [told]))


def _allowed(one: Served, examples: int, statuses: Counter[int]) -> int:
    """Send what the OpenAPI document allows, and what it does not; return how many answers it does not describe."""
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    api = schemathesis.openapi.from_url(f"http://127.0.0.1:{one.port}/openapi.json")
    wrong = 0
    for method, path in (("POST", "/score"), ("POST", "/v2/models/{model}/infer"), ("GET", "/model")):

        @settings(
            max_examples=max(5, examples // 10),
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        @given(api[path][method].as_strategy())
        def sent(case: Any) -> None:
            nonlocal wrong
            answer = case.call()
            statuses[answer.status_code] += 1
            try:
                case.validate_response(
                    answer, checks=[not_a_server_error, status_code_conformance, response_schema_conformance]
                )
            except Exception:
                # Counted, and the bar fails: a benchmark goes on to the end.
                wrong += 1

        sent()
    return wrong
