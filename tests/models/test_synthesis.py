"""Generators: what they draw is like the rows, meets what is asked, and is none of them; their files hold no row."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from leanrisk.core.constraints import Constraints, Range, Sum
from leanrisk.core.errors import ConfigError, LeanRiskError, ModelError
from leanrisk.models.synthesis.codec import Encoded
from leanrisk.models.synthesis.layout import Layout
from leanrisk.models.synthesis.originals import Originals
from leanrisk.models.synthesis.row_generator import Learned, learn
from leanrisk.models.synthesis.sampling import Sampling, originals_of, sampled
from leanrisk.models.synthesis.settings import GeneratorConfig, Kind
from leanrisk.models.synthesis.smote import smote
from tests.models.synthetic_books import QUICK, QUICK_VAE, book, learned

KINDS = pytest.mark.parametrize("kind", list(Kind))


@KINDS
def test_a_class_is_drawn_with_what_tells_it(kind):
    bads, goods = (sampled(learned(kind), 1500, {"bad": value}, seed=1) for value in (1, 0))
    assert (bads["bad"] == 1).all()
    assert (goods["bad"] == 0).all()
    assert bads["age"].to_numpy().mean() < goods["age"].to_numpy().mean() - 3
    assert np.nanmean(bads["debt"].to_numpy()) > np.nanmean(goods["debt"].to_numpy()) + 0.5
    assert share_of(bads, "south") > share_of(goods, "south") + 0.15


def share_of(rows: pl.DataFrame, region: str) -> float:
    return rows.filter(region=region).height / rows.height


@KINDS
def test_rows_have_the_types_and_keep_to_the_rules(kind):
    made = sampled(learned(kind), 2000, seed=2)
    assert made.schema == book().schema
    assert np.abs((made["total"] - made["principal"] - made["interest"]).to_numpy()).max() < 1e-6
    assert (made["decided"] >= made["opened"]).all()
    assert made["age"].is_between(18, 70).all()
    assert made["age"].null_count() == 0
    assert 0.02 < made["debt"].null_count() / 2000 < 0.3


@KINDS
def test_equal_seeds_draw_equal_rows_however_they_are_taken(kind):
    whole = sampled(learned(kind), 9000, seed=5)
    assert whole.head(100).equals(sampled(learned(kind), 100, seed=5))
    assert not whole.head(100).equals(sampled(learned(kind), 100, seed=6))
    config = QUICK if kind is Kind.GAN else QUICK_VAE
    few = book().head(300)
    one, two = (learn(few, conditions=["bad"], config=config, seed=1) for _ in range(2))
    assert sampled(one, 50, seed=1).equals(sampled(two, 50, seed=1))


@KINDS
def test_a_saved_generator_draws_the_same(kind, tmp_path):
    learned(kind).save(tmp_path)
    again = Learned.load(tmp_path)
    assert sampled(again, 200, {"bad": 1}, seed=9).equals(sampled(learned(kind), 200, {"bad": 1}, seed=9))


@KINDS
def test_the_file_holds_no_row(kind, tmp_path):
    rng = np.random.default_rng(8)
    frame = pl.DataFrame(
        {
            "amount": rng.lognormal(9, 1, 600),
            "balance": rng.normal(1e6, 1e5, 600),
            "name": [f"Customer Number {place}" for place in range(600)],
            "bad": (np.arange(600) < 60).astype(np.int8),
        }
    )
    config = GeneratorConfig(kind, width=16, latent=4, steps=20)
    learn(frame, conditions=["bad"], config=config).save(tmp_path)
    told = json.loads((tmp_path / "generator.json").read_text())
    numbers = set(numbers_in(told))
    for name in ("amount", "balance"):
        assert numbers.isdisjoint(frame[name].to_list())
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Customer" not in raw
    for value in frame["amount"].head(100):
        assert np.float64(value).tobytes() not in raw
        assert np.float32(value).tobytes() not in raw


def numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from numbers_in(entry)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("damage", ["weights", "facts", "other"])
def test_a_damaged_file_is_refused(damage, tmp_path):
    learned().save(tmp_path)
    if damage == "weights":
        file = tmp_path / "generator.safetensors"
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "facts":
        facts = json.loads((tmp_path / "generator.json").read_text())
        del facts["codec"]["columns"]
        (tmp_path / "generator.json").write_text(json.dumps(facts))
    else:
        (tmp_path / "generator.json").write_text("[]")
    with pytest.raises(ModelError):
        Learned.load(tmp_path)


def test_memorised_rows_are_refused_and_chance_is_not():
    codec, rows = learned().codec, learned().codec.encode(book())
    originals = Originals(codec, rows, seed=0)
    assert originals.chance < 0.05
    copies = rows.take(np.arange(500))
    assert originals.memorised(copies).mean() > 0.9
    nudged = Encoded(copies.codes, np.clip(copies.places + 0.01, 0, 1).astype(np.float32))
    assert originals.memorised(nudged).mean() > 0.7
    fresh = codec.encode(sampled(learned(), 500, seed=4))
    assert originals.memorised(fresh).mean() < 0.1


def test_where_rows_coincide_by_chance_none_is_refused():
    frame = pl.DataFrame({"a": ["x", "y"] * 200, "b": ["p", "p", "q"] * 133 + ["q"]})
    made = learn(frame, config=QUICK_VAE)
    originals = originals_of(made, frame, seed=0)
    assert originals.chance == 1.0
    sampling = Sampling(made, seed=1, originals=originals)
    assert sum(part.height for part in sampling.frames(1000)) == 1000
    assert sampling.refused.memorised == 0


def test_a_generator_that_copies_is_caught_while_it_draws():
    class Copying(Learned):
        def drawn(self, told, rng):
            rows = self.codec.encode(book())
            return rows.take(rng.integers(rows.rows, size=told.shape[0]))

    own = learned()
    copying = Copying(own.codec, own.conditions, own.config, own.network, own.rows)
    sampling = Sampling(copying, seed=1, originals=originals_of(own, book(), seed=0))
    with pytest.raises(ConfigError, match="were copies"):
        for _ in sampling.frames(10_000):
            pass
    assert sampling.refused.memorised > 10_000


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"bad": 2}, "no row has 'bad' = 2"),
        ({"bad": "often"}, "no row has 'bad' = 'often'"),
        ({"region": "south"}, "'region' is none of them"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(wanted, says):
    with pytest.raises(ConfigError, match=says):
        sampled(learned(), 10, wanted, seed=0)


@pytest.mark.parametrize("rows", [0, -3])
def test_at_least_one_row_is_asked_for(rows):
    with pytest.raises(ConfigError, match="At least one row"):
        sampled(learned(), rows, seed=0)
    with pytest.raises(ConfigError, match="At least one row"):
        smote(book(), rows, seed=0)


@KINDS
def test_fewer_bads_than_a_batch_are_enough_and_fewer_than_five_are_not(kind):
    config = GeneratorConfig(kind, width=16, latent=4, batch=200, steps=10)
    few = pl.concat([book().head(9), book().tail(400)])
    made = learn(few, conditions=["bad"], asked={"bad": 1}, config=config)
    assert sampled(made, 60, {"bad": 1}, seed=0).height == 60
    one = pl.concat([book().head(1), book().tail(400)])
    with pytest.raises(ConfigError, match="fewer than 5: 'bad' = 1 has 1"):
        learn(one, conditions=["bad"], asked={"bad": 1}, config=config)
    with pytest.raises(ConfigError, match="no row has 'bad' = 1"):
        learn(book().tail(400), conditions=["bad"], asked={"bad": 1}, config=config)


def test_rules_that_no_drawn_row_can_keep_end_in_an_error():
    rules = Constraints(sums=(Sum("total", ("principal", "interest")),))
    made = learn(book(), config=QUICK_VAE, rules=rules)
    narrow = Constraints(ranges=(Range("total", 1e9),), sums=rules.sums)
    impossible = Learned(made.codec.keeping_rules(narrow), made.conditions, made.config, made.network, made.rows)
    with pytest.raises(ConfigError, match="keep to the rules"):
        sampled(impossible, 10, seed=0)


def test_every_column_as_condition_leaves_nothing_to_draw():
    with pytest.raises(ModelError, match="something to draw"):
        learn(book().select("region", "bad"), conditions=["region", "bad"])


def test_learning_leaves_the_world_as_it_was():
    world = torch.get_rng_state(), torch.get_num_threads()
    learn(book().head(100), config=GeneratorConfig(width=8, latent=2, steps=3))
    assert torch.equal(world[0], torch.get_rng_state())
    assert world[1] == torch.get_num_threads()


def test_codes_are_drawn_as_often_as_their_softmax_says():
    layout = Layout([3, 5, 2, 3], [3, 1, 2, 3], [True, True, False, False])
    logits = torch.zeros(20_000, layout.total)
    codes = layout.drawn(logits, torch.Generator().manual_seed(1))
    assert (codes.max(axis=0) == [2, 4, 1, 2]).all()
    shares = [np.bincount(codes[:, place], minlength=5) / 20_000 for place in range(4)]
    assert np.allclose(shares[0][:3], 1 / 3, atol=0.02)
    assert np.allclose(shares[1], 0.2, atol=0.02)
    assert shares[2][1] == 1.0
    assert np.allclose(shares[3][1:3], 0.5, atol=0.02)
    assert np.array_equal(layout.one_hot(codes).sum(dim=1), np.full(20_000, 4.0))
    hard = layout.chosen(logits[:100].requires_grad_())
    assert set(hard.detach().unique().tolist()) <= {0.0, 1.0}
    assert torch.allclose(
        layout.surprise(logits[:1], layout.one_hot(codes[:1])), torch.tensor(np.log(3 * 5 * 2)).float()
    )


def test_smote_stays_between_rows_and_takes_their_levels():
    bads = book().filter(pl.col("bad") == 1)
    made = smote(bads, 500, seed=1)
    assert made.schema == bads.schema
    for name in ("age", "debt", "principal"):
        assert np.nanmin(made[name].to_numpy()) >= np.nanmin(bads[name].to_numpy()) - 0.01
        assert np.nanmax(made[name].to_numpy()) <= np.nanmax(bads[name].to_numpy()) + 0.01
    assert set(made["region"]) <= set(bads["region"])
    assert made.equals(smote(bads, 500, seed=1))
    with pytest.raises(LeanRiskError, match="two of them"):
        smote(bads.head(1), 5, seed=1)


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"steps": 0}, {"learning_rate": 0.0}, {"rare": 2.0}, {"strength": -1.0}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError):
        GeneratorConfig(**wrong)
