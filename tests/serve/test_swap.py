"""Hot swaps under load: nobody is refused, every answer is one snapshot's, and a bad snapshot changes nothing."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pyarrow as pa
import pytest

from leanrisk.records.journal import Action
from leanrisk.registry.bundle import REFERENCE, Bundle
from leanrisk.registry.manifest import Manifest
from leanrisk.registry.place import RegistryConfig
from leanrisk.serve.batch_blocks import ARROW
from tests.registry.bundles import bundle_copy
from tests.serve.services import Client, Served, served
from tests.serve.test_batch_route import stream, table

RECORD = {"income": 20_000, "sector": "mill"}


class House:
    """A registry with snapshots of one model under several ids, and who moves its aliases."""

    def __init__(self, folder) -> None:
        self.folder = folder
        config = RegistryConfig.read(folder / "registry")
        self.store, self.journal = config.store, config.journal

    def add(self, name: str, *, differs: bool = False) -> str:
        (self.folder / name).mkdir()
        place = bundle_copy(self.folder / name)
        if differs:
            stored = json.loads((place / REFERENCE).read_text())
            stored["probability"] = [1 - value for value in stored["probability"]]
            (place / REFERENCE).write_text(json.dumps(stored))
        Manifest.of(place, {"scenario": name}).write(place)
        return self.store.add(Bundle.load(place))

    def promote(self, snapshot: str, alias: str = "champion") -> None:
        before = self.journal.aliases().get(alias)
        self.journal.append(who="test", action=Action.PROMOTE, alias=alias, before=before, after=snapshot, why="test")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swap")
    return House(folder)


@contextmanager
def load(one: Served, clients: int = 3) -> Iterator[list[tuple[int, str]]]:
    """Ask without a pause from several connections; yields the statuses and snapshots of the answers."""
    answers: list[tuple[int, str]] = []
    ending = threading.Event()

    def ask() -> None:
        client = one.client()
        while not ending.is_set():
            told = client.score(RECORD)
            answers.append((told.status, told.json.get("snapshot", "")))
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ending.set()
        for thread in threads:
            thread.join(60)


def value(client: Client, metric: str) -> float:
    lines = client.get("/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


def test_promotions_failures_and_a_rollback_under_load(house):
    first, second = house.add("first"), house.add("second")
    damaged, different = house.add("damaged"), house.add("different", differs=True)
    graph = house.store.folder(damaged) / "model.onnx"
    graph.chmod(0o644)
    graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    house.promote(first)
    # So seldom that only a glance at the journal can be why it follows.
    settings = f'poll_s = 600\nregistry = "{house.folder / "registry"}"\n'
    with served(house.folder, settings) as one, load(one) as answers:
        client = one.client()
        house.promote(second)
        one.wait_for("swapped", playing=second)
        assert client.score(RECORD).json["snapshot"] == second
        house.promote(damaged)
        told = one.wait_for("swap-failed", wanted=damaged)
        assert (told["playing"], "was altered" in told["error"]) == (second, True)
        assert value(client, 'leanrisk_snapshot_behind{alias="champion"}') == 1
        house.promote(different)
        assert "Do not deploy it here" in one.wait_for("swap-failed", wanted=different)["error"]
        pushed = client.ask("POST", "/admin/reload")
        assert (pushed.status, pushed.json["aliases"][0]["playing"]) == (409, second)
        assert client.get("/v2/health/ready").status == 200
        assert client.score(RECORD).json["snapshot"] == second
        house.promote(first)
        assert client.ask("POST", "/admin/reload").status == 200
        assert client.score(RECORD).json["snapshot"] == first
        assert value(client, "leanrisk_swap_failures_total") >= 3
        assert value(client, "leanrisk_snapshot_behind") == 0
        client.close()
    assert {status for status, _ in answers} == {200}
    assert {snapshot for _, snapshot in answers} == {first, second}


def test_a_challenger_scores_the_same_traffic_unseen(house):
    first, second = house.add("first2"), house.add("second2")
    house.promote(first)
    house.promote(second, "challenger")
    with served(house.folder, f'registry = "{house.folder / "registry"}"\nlog = "shadow.db"\n') as one:
        client = one.client()
        asked = [client.score({"income": 1000 * place}).json for place in range(20)]
        assert {told["snapshot"] for told in asked} == {first}
        batch = client.ask("POST", "/score/batch", stream(table(3_000)), {"Content-Type": ARROW, "X-Batch-Id": "june"})
        client.close()
        assert one.stop() == 0
    with closing(sqlite3.connect(house.folder / "shadow.db")) as log:
        blocks = dict(log.execute("SELECT batch, told FROM batches WHERE snapshot = ?", [second]))
        rows = log.execute("SELECT id, snapshot, probability FROM decisions WHERE alias = 'challenger'").fetchall()
    shadows = {name: {"snapshot": snapshot, "probability": told} for name, snapshot, told in rows}
    assert shadows.keys() == {told["decision_id"] for told in asked}
    assert {row["snapshot"] for row in shadows.values()} == {second}
    assert all(shadows[told["decision_id"]]["probability"] == told["probability"] for told in asked)
    assert blocks.keys() == {"challenger/june"}
    told = pa.ipc.open_stream(blocks["challenger/june"]).read_all()
    assert told.equals(pa.ipc.open_stream(batch.body).read_all())
    assert told.schema.metadata == {b"snapshot": second.encode()}


def test_without_a_champion_it_waits_and_says_so(tmp_path):
    waiting = House(tmp_path)
    only = waiting.add("only")
    with served(tmp_path, f'registry = "{tmp_path / "registry"}"\n') as one:
        client = one.client()
        told = client.get("/v2/health/ready")
        assert (told.status, told.json) == (503, {"ready": False, "reason": "no snapshot plays yet"})
        assert client.score(RECORD).json["code"] == "no-model"
        waiting.promote(only)
        one.wait_for("swapped", playing=only)
        assert client.score(RECORD).json["snapshot"] == only
        client.close()


def moved(one: Served, snapshot: str) -> list[dict]:
    return [line for line in one.events("swapped") if line["playing"] == snapshot and line["alias"] == "champion"]


def test_workers_converge(house):
    first, second = house.add("first3"), house.add("second3")
    house.promote(first)
    settings = f'registry = "{house.folder / "registry"}"\nlog = "workers.db"\nworkers = 2\n'
    with served(house.folder, settings) as one:
        with one.told:
            assert one.told.wait_for(lambda: len(one.events("started")) == 2, timeout=60)
        with load(one) as answers:
            house.promote(second)
            with one.told:
                assert one.told.wait_for(lambda: len(moved(one, second)) == 2, timeout=60)
        assert {status for status, _ in answers} == {200}
        for _ in range(8):
            client = one.client()
            assert client.score(RECORD).json["snapshot"] == second
            client.close()
        client = one.client()
        assert value(client, "leanrisk_decisions_total") == len(answers) + 8
        client.close()
        lost = one.events("started")[0]["pid"]
        os.kill(lost, signal.SIGKILL)
        assert one.wait_for("worker-died")["pid"] == lost
        with one.told:
            assert one.told.wait_for(lambda: len(one.events("started")) == 3, timeout=60)
        client = one.client()
        assert client.score(RECORD).status == 200
        client.close()
        assert one.stop() == 0
