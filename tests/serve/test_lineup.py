"""Seats change in one step, what left is freed, and shadows never wait for place."""

from __future__ import annotations

import asyncio
import io
import weakref
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import BundleError
from leanrisk.serve.follower import stopped
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.lineup import Lineup, Seat
from leanrisk.serve.metrics import Metrics
from leanrisk.serve.protocols import Block, Decision
from leanrisk.serve.record_privacy import Privacy
from leanrisk.serve.settings import ServeConfig, Shadow
from leanrisk.serve.shadow import Shadows
from leanrisk.serve.shadow_blocks import ShadowBlocks
from tests.registry.bundles import bundle_copy
from tests.techniques.lean_books import book


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return bundle_copy(tmp_path_factory.mktemp("lineup"))


class Kept:
    """A log that keeps in memory what shadows said."""

    def __init__(self) -> None:
        self.said: list[Decision] = []
        self.blocks: list[Block] = []

    async def block(self, block) -> None:
        self.blocks.append(block)

    async def shadow(self, decisions) -> None:
        self.said += decisions


def decision(number: int) -> Decision:
    record = {"income": 1000.0 * number}
    return Decision(f"d{number}", 0.0, "champion", "s", "c", "r", record, 0.5, 600.0, "review", Privacy())


def test_a_seat_that_left_is_freed_once_its_requests_are_answered(place):
    lineup = Lineup()
    first = lineup.swap("champion", lambda: Seat.load(place))
    freed = weakref.ref(first.scorer.bundle)
    lineup.swap("champion", lambda: Seat.load(place))
    assert 0 <= first.scorer.one({}) <= 1
    del first
    assert freed() is None


def test_a_seat_that_fails_leaves_the_old_one(place, tmp_path):
    lineup = Lineup()
    first = lineup.swap("champion", lambda: Seat.load(place))
    with pytest.raises(BundleError, match="is what its id says"):
        lineup.swap("champion", lambda: Seat.load(place, "0" * 64))
    with pytest.raises(BundleError):
        lineup.swap("champion", lambda: Seat.load(tmp_path))
    assert lineup.seat() is first
    lineup.leave("champion")
    assert lineup.seat() is None


def test_shadows_take_what_there_is_place_for_and_count_the_rest(place):
    config = ServeConfig(bundle="b", shadow=Shadow(("control",), waiting=3))
    lineup, log, metrics = Lineup(), Kept(), Metrics()
    seat = lineup.swap("control", lambda: Seat.load(place))

    async def traffic() -> None:
        shadows = Shadows(config, lineup, log, metrics, JsonLog(io.StringIO()))  # type: ignore[arg-type]
        shadows([decision(number) for number in range(2)])
        shadows([decision(number) for number in range(2, 7)])
        await shadows.drain(30)

    asyncio.run(traffic())
    assert [(said.id, said.alias, said.snapshot) for said in log.said] == [
        (f"d{number}", "control", seat.snapshot) for number in range(3)
    ]
    assert [said.probability for said in log.said] == [seat.scorer.one(said.record) for said in log.said]
    text = metrics.text().decode()
    assert 'leanrisk_shadow_dropped_total{alias="control"} 4.0' in text
    assert 'leanrisk_shadow_difference_count{alias="control"} 3.0' in text


def test_without_shadows_nothing_waits():
    lineup, metrics = Lineup(), Metrics()
    shadows = Shadows(ServeConfig(bundle="b"), lineup, Kept(), metrics, JsonLog(io.StringIO()))  # type: ignore[arg-type]
    shadows([decision(1)])
    assert b"dropped_total{" not in metrics.text()


def block(batch: str, rows: int) -> Block:
    asked = book(rows, seed=3).frame.drop("recovered", "loss", "bad", strict=False)
    told = pl.DataFrame(
        {
            "decision_id": [f"{batch}:{place}" for place in range(rows)],
            "probability": pl.Series([0.5] * rows, dtype=pl.Float32),
            "points": [600.0] * rows,
            "decision": ["review"] * rows,
        }
    ).to_arrow(compat_level=pl.CompatLevel.oldest())
    return Block(batch, 0, 0.0, "s", "c", "r", asked, told, Privacy())


def test_blocks_of_batches_are_shadowed_as_far_as_there_is_place(place):
    config = ServeConfig(bundle="b", shadow=Shadow(("control",), batch_rows=2_000))
    lineup, log, metrics = Lineup(), Kept(), Metrics()

    async def scored() -> None:
        lineup.swap("control", lambda: Seat.load(place))
        shadows = ShadowBlocks(config, lineup, log, metrics, JsonLog(io.StringIO()))  # type: ignore[arg-type]
        for name, rows in (("a", 1_500), ("b", 600), ("c", 500)):
            shadows(block(name, rows))
        running = asyncio.create_task(shadows.run())
        await asyncio.sleep(0)
        # What is at work when the service ends is not lost.
        await stopped(running)
        await shadows.drain(30)

    asyncio.run(scored())
    seat = lineup.seat("control")
    assert seat is not None
    assert [(kept.batch, kept.snapshot, kept.rows.height) for kept in log.blocks] == [
        ("control/a", seat.snapshot, 0),
        ("control/c", seat.snapshot, 0),
    ]
    asked = block("a", 1_500)
    np.testing.assert_array_equal(log.blocks[0].told["probability"].to_numpy(), seat.scorer.many(asked.rows))
    assert log.blocks[0].told["decision_id"].equals(asked.told["decision_id"])
    text = metrics.text().decode()
    assert 'leanrisk_shadow_rows_total{alias="control"} 2000.0' in text
    assert 'leanrisk_shadow_dropped_total{alias="control"} 600.0' in text


def test_a_block_that_a_shadow_cannot_score_is_counted(place):
    config, metrics, lines = ServeConfig(bundle="b"), Metrics(), io.StringIO()
    lineup, log = Lineup(), Kept()

    async def scored() -> None:
        lineup.swap("challenger", lambda: Seat.load(place))
        shadows = ShadowBlocks(config, lineup, log, metrics, JsonLog(lines))  # type: ignore[arg-type]
        wrong = block("a", 10)
        shadows(replace(wrong, rows=wrong.rows.with_columns(income=pl.lit("secret"))))
        await shadows.drain(30)

    asyncio.run(scored())
    assert log.blocks == []
    assert 'leanrisk_shadow_failures_total{alias="challenger"} 10.0' in metrics.text().decode()
    assert "secret" not in lines.getvalue()
