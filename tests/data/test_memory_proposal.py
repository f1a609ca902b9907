import datetime as dt

import numpy as np
import polars as pl
import pytest

from leanrisk.core.memory import Link
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.infer import inspect_table
from leanrisk.data.memory_proposal import memory_remark, proposed_memory
from leanrisk.data.roles import is_outcome_time


def book(rows=400):
    rng = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "loan_id": np.arange(rows),
            "bank_key": rng.integers(0, 40, rows),
            "naics": [str(code) for code in rng.integers(100_000, 100_900, rows)],
            "approved": [dt.date(2020, 1, 1) + dt.timedelta(days=int(day)) for day in rng.integers(0, 600, rows)],
            "amount": rng.lognormal(size=rows),
            "default": rng.integers(0, 2, rows),
        }
    )


def proposal(schema, frame):
    memory = proposed_memory(schema, frame)
    assert memory is not None
    return memory


def columns(**entities):
    made = [Column("approved", Kind.DATE, Role.TIME), Column("amount", Kind.NUMERIC)]
    return (*made, *(Column(name, Kind.CATEGORY, Role.IGNORED, entity=node) for name, node in entities.items()))


def test_entities_become_a_section_that_says_what_it_assumes():
    found = inspect_table(book(), target="default", positive="1")
    memory = found.schema.memory
    assert memory is not None
    assert ("bank_key",) in [entity.columns for entity in memory.entities]
    assert memory.amount == "amount"
    assert memory.delay == memory.maturity == 365
    (said,) = [fault for fault in found.findings if fault.code == "memory-proposed"]
    assert "365 days are assumed" in said.message


def test_codes_have_coarser_levels_and_keys_have_none():
    memory = proposal(Schema(columns(naics="industry", bank_key="bank")), book())
    assert {entity.name: entity.prefixes for entity in memory.entities} == {"industry": (4, 3, 2), "bank": ()}


def test_two_columns_of_one_entity_are_the_ends_of_a_link():
    frame = book().with_columns(payer=pl.col("naics"), payee=pl.col("naics"))
    memory = proposal(Schema(columns(payer="account", payee="account")), frame)
    assert memory.links == (Link("account_link", "payer", "payee"),)
    assert [entity.name for entity in memory.entities] == ["account", "payee"]


def test_an_outcome_time_is_taken_at_its_word():
    schema = Schema((*columns(naics="industry"), Column("known", Kind.DATE, Role.OUTCOME_TIME)))
    memory = proposal(schema, book().with_columns(known=pl.col("approved")))
    assert (memory.known, memory.maturity) == ("known", 0)
    assert "known at 'known'" in memory_remark(memory).message


@pytest.mark.parametrize("schema", [Schema(columns()), Schema(columns(naics="industry")[1:])])
def test_without_entities_or_a_time_nothing_is_proposed(schema):
    assert proposed_memory(schema, book()) is None


@pytest.mark.parametrize("name", ["known_at", "known_on", "outcome_date"])
def test_a_column_that_says_when_the_outcome_was_known_is_seen_by_its_name(name):
    assert is_outcome_time(name)
