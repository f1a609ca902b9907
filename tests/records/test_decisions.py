"""The table of decisions, in both databases: each id once, whoever writes it, and a range of time at a time."""

from __future__ import annotations

import threading

import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.records.database import database
from leanrisk.records.decisions import Decisions, KeptBlock, KeptDecision


def row(name, *, alias="champion", moment=1.0, probability=0.25, snapshot="s1"):
    record = '{"text":"\\u0000 \\ud800"}'
    return KeptDecision(name, alias, moment, snapshot, "anna", "r-1", record, probability, 600.5, "approve")


def block(batch, start=0):
    return KeptBlock(batch, start, 3, 1.5, "s1", "anna", "r-2", b"\x00asked", b"told\xff")


@pytest.fixture
def table(new_url):
    engine = database(new_url())
    yield Decisions(engine)
    engine.dispose()


def test_what_is_kept_is_found_as_it_was(table):
    rows = [row(f"d{place}", probability=0.1 + place / 3) for place in range(1_200)]
    assert table.keep(rows) == ({}, set())
    assert table.find([each.id for each in rows] + ["none"]) == {each.id: each for each in rows}


def test_an_id_is_kept_once_and_the_first_answer_stands(table):
    first, other = row("a"), row("b")
    table.keep([first])
    known, _ = table.keep([row("a", probability=0.9), other, row("b", probability=0.8)])
    assert known == {("a", "champion"): first, ("b", "champion"): other}
    assert table.find(["a", "b"]) == {"a": first, "b": other}
    assert table.count()["decisions"] == 2


def test_shadows_stand_beside_what_was_answered(table):
    shadow = row("a", alias="challenger", probability=0.7)
    table.keep([row("a"), shadow])
    assert table.find(["a"]) == {"a": row("a")}
    assert list(table.between(0, 2, alias="challenger")) == [shadow]


def test_a_block_is_kept_once(table):
    assert table.keep([], [block("m", 0), block("m", 3)]) == ({}, set())
    assert table.keep([row("x")], [block("m", 3), block("m", 6)]) == ({}, {("m", 3)})
    assert table.count() == {"decisions": 1, "repeats": 0, "batches": 3, "batch_rows": 9}


def test_a_range_of_time_is_half_open_and_in_order(table):
    rows = [row(name, moment=moment) for name, moment in (("c", 3.0), ("a", 2.0), ("b", 2.0), ("z", 1.0), ("e", 4.0))]
    table.keep([*rows, row("o", moment=2.5, snapshot="s2")])
    assert [each.id for each in table.between(2.0, 4.0)] == ["a", "b", "o", "c"]
    assert [each.id for each in table.between(0, 9, snapshot="s2")] == ["o"]
    with pytest.raises(ConfigError, match="ends after it starts"):
        next(table.between(2, 1))


def test_absorbing_twice_changes_nothing_and_a_second_answer_is_kept_beside_the_first(table):
    first, second = row("a"), row("a", moment=9.0, probability=0.9)
    table.keep([first])
    for _ in range(2):
        assert table.absorb([row("b"), second], [block("m")]) == 1
    assert table.find(["a"]) == {"a": first}
    assert table.count() == {"decisions": 2, "repeats": 1, "batches": 1, "batch_rows": 3}


def test_writers_of_the_same_ids_agree_on_one_answer(table):
    table.prepare()
    told = {}

    def write(writer):
        own = [row(f"d{place}", probability=writer / 10) for place in range(200)]
        own = own if writer % 2 else own[::-1]
        known, _ = table.keep(own)
        told[writer] = {each.id: known.get((each.id, "champion"), each).probability for each in own}

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = {name: each.probability for name, each in table.find([f"d{place}" for place in range(200)]).items()}
    assert [told[writer] for writer in range(4)] == [kept] * 4
