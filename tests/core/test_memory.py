import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.config import configured
from leanrisk.core.errors import ConfigError, SchemaError
from leanrisk.core.memory import Entity, Fact, Link, LinkFact, Memory
from leanrisk.core.schema import Column, Kind, Role, Schema

COLUMNS = (
    Column("bank", Kind.CATEGORY, Role.IGNORED),
    Column("industry", Kind.CATEGORY, Role.FEATURE),
    Column("to_bank", Kind.CATEGORY, Role.IGNORED),
    Column("day", Kind.DATE, Role.TIME),
    Column("amount", Kind.NUMERIC),
    Column("bad", Kind.NUMERIC, Role.TARGET),
)
ENTITIES = (
    Entity("industry", ("industry",), prefixes=(4, 2)),
    Entity("bank", ("bank",), facts=(Fact.RATE,)),
    Entity("both", ("bank", "industry"), under="bank"),
)

facts = st.lists(st.sampled_from(list(Fact)), min_size=1, unique=True).map(tuple)
link_facts = st.lists(st.sampled_from(list(LinkFact)), min_size=1, unique=True).map(tuple)


@given(
    facts,
    link_facts,
    st.lists(st.floats(0.1, 4000), min_size=1, max_size=8, unique=True).map(lambda found: tuple(sorted(found))),
    st.integers(1, 2),
    st.floats(0, 100),
)
def test_a_memory_reads_back_from_the_toml_it_is_written_as(kept, linked, windows, hops, wait):
    memory = Memory(
        entities=(*ENTITIES, Entity("again", ("bank",), facts=kept)),
        links=(Link("paid", "bank", "to_bank", linked, hops=hops),),
        amount="amount",
        delay=wait,
        maturity=2 * wait,
        windows=windows,
    )
    schema = Schema(COLUMNS, memory=memory)
    assert Schema.from_dict(tomllib.loads(schema.to_toml())) == schema


def test_levels_run_from_fine_to_coarse():
    assert ENTITIES[0].levels == ("industry", "industry_4", "industry_2")
    assert Memory(entities=ENTITIES).columns == ("industry", "bank")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "needs entities or links"),
        ({"entities": [{"name": "a b", "columns": ["bank"]}]}, "letters, digits"),
        ({"entities": [{"name": "a", "columns": []}]}, "needs columns"),
        ({"entities": [{"name": "a", "columns": ["bank", "bank"]}]}, "each once"),
        ({"entities": [{"name": "a", "columns": ["bank"], "prefixes": [2, 4]}]}, "from fine to coarse"),
        ({"entities": [{"name": "a", "columns": ["bank", "industry"], "prefixes": [2]}]}, "no prefixes"),
        ({"entities": [{"name": "a", "columns": ["bank"], "facts": []}]}, "some facts"),
        ({"entities": [{"name": "a", "columns": ["bank"], "facts": ["luck"]}]}, "one of count"),
        ({"entities": [{"name": "a", "columns": ["bank"], "under": "b"}]}, "no entity of this memory"),
        ({"entities": [{"name": "a", "columns": ["bank"], "under": "a"}]}, "a -> a"),
        (
            {
                "entities": [
                    {"name": "a", "columns": ["bank"], "under": "b_2"},
                    {"name": "b", "columns": ["industry"], "prefixes": [2], "under": "a"},
                ]
            },
            "a -> b -> a",
        ),
        ({"entities": [{"name": "a", "columns": ["bank"]}] * 2}, "'a' stands twice"),
        ({"entities": [{"name": "a", "columns": ["bank"]}], "windows": [7, 1]}, "rising"),
        ({"entities": [{"name": "a", "columns": ["bank"]}], "windows": [0]}, "above 0"),
        ({"entities": [{"name": "a", "columns": ["bank"]}], "delay": 2}, "not be below delay"),
        ({"entities": [{"name": "a", "columns": ["bank"]}], "colour": "red"}, "'colour'"),
        ({"links": [{"name": "a", "source": "bank", "target": "bank"}]}, "joins two columns"),
        ({"links": [{"name": "a", "source": "bank", "target": "to_bank", "hops": 3}]}, "1..2"),
        ({"links": [{"name": "a", "source": "bank", "target": "to_bank", "facts": []}]}, "some facts"),
    ],
)
def test_a_memory_that_makes_no_sense_is_refused_by_name(settings, says):
    with pytest.raises(ConfigError, match=says):
        configured(Memory, settings, where="memory")


@pytest.mark.parametrize(
    ("columns", "memory", "says"),
    [
        (COLUMNS, Memory(entities=(Entity("a", ("city",)),)), "'city' is none"),
        (COLUMNS, Memory(entities=(Entity("a", ("bank",)),), amount="sum"), "'sum' is none"),
        (COLUMNS[:3], Memory(entities=(Entity("a", ("bank",)),)), "role 'time'"),
    ],
)
def test_a_memory_reads_columns_of_its_own_table(columns, memory, says):
    with pytest.raises(SchemaError, match=says):
        Schema(columns, memory=memory)


@pytest.mark.parametrize("role", [Role.TARGET, Role.OUTCOME_TIME, Role.EXPOST, Role.SCORE])
@pytest.mark.parametrize("place", ["entity", "amount", "end"])
def test_what_is_known_only_afterwards_names_no_entity_and_is_no_amount(role, place):
    later = Column("later", Kind.NUMERIC, role)
    columns = tuple(column for column in COLUMNS if column.role is not role)
    bank = Entity("bank", ("bank",))
    memory = {
        "entity": Memory(entities=(Entity("later", ("later",)),)),
        "amount": Memory(entities=(bank,), amount="later"),
        "end": Memory(links=(Link("paid", "bank", "later"),)),
    }[place]
    with pytest.raises(SchemaError, match="'later' has the role"):
        Schema((*columns, later), memory=memory)
    assert Schema((*columns, later), memory=Memory(entities=(bank,), known="later")).memory is not None


def test_facts_become_features_when_kept_and_never_mere_columns():
    fact = Column("memory.bank.rate", Kind.NUMERIC, Role.MEMORY)
    schema = Schema((*COLUMNS, fact), memory=Memory(entities=ENTITIES))
    assert fact.name not in schema.features
    seen = schema.keeping(["amount", fact.name])
    assert seen.features == ("amount", fact.name)
    assert seen.keeping(["amount"])[fact.name].role is Role.MEMORY
    assert seen.keeping(["amount"])["industry"].role is Role.IGNORED
    assert fact.name not in seen.raw
    assert seen.facts == (fact.name,)
