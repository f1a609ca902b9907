"""Recipes: presets laid over, changes from the command line, and everything unknown refused by name."""

from __future__ import annotations

import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.pipelines.market_recipe import MarketRecipe
from leanrisk.pipelines.recipe import IncumbentConfig, MeasureConfig, Recipe, RefreshConfig, SimulatedData, Step
from leanrisk.scenarios.catalogue import is_market, load_scenario, scenario_names
from leanrisk.scenarios.market import market_recipe
from leanrisk.scenarios.run import recipe_for
from tests.pipelines.tiny import tiny_recipe

PLAIN = {
    "name": "own",
    "incumbent": {"gbdt": {"trials": 7, "folds": 4}},
    "presets": {"smoke": {"incumbent": {"gbdt": {"trials": 2}}, "title": "quick"}},
}


@pytest.mark.parametrize("name", [name for name in scenario_names() if not is_market(name)])
@pytest.mark.parametrize("preset", ["smoke", "standard", "full"])
def test_every_shipped_scenario_reads_under_every_preset(name, preset):
    recipe = Recipe.from_dict(load_scenario(name), preset=preset)
    assert recipe.name == name
    assert recipe.title
    assert "distill" in {step.technique for step in recipe.steps}
    if preset == "smoke":
        assert recipe.incumbent.gbdt.trials < Recipe.from_dict(load_scenario(name)).incumbent.gbdt.trials


@pytest.mark.parametrize("preset", ["smoke", "standard", "full"])
def test_the_market_scenario_reads_under_every_preset(preset):
    recipe, standard = (market_recipe("market-risk", preset=name) for name in (preset, "standard"))
    assert (recipe.name, recipe.pipeline) == ("market-risk", "market")
    assert (recipe.data.days < standard.data.days) == (preset == "smoke")
    # What the file spells out is what a recipe without it has.
    assert recipe.models == MarketRecipe("plain").models
    assert standard.walk == MarketRecipe("plain").walk


def test_a_market_scenario_is_only_run():
    with pytest.raises(ConfigError, match="leanrisk run"):
        recipe_for("market-risk")


def test_a_preset_is_laid_over_key_by_key():
    standard, smoke = Recipe.from_dict(PLAIN), Recipe.from_dict(PLAIN, preset="smoke")
    assert (standard.incumbent.gbdt.trials, standard.incumbent.gbdt.folds, standard.title) == (7, 4, "")
    assert (smoke.incumbent.gbdt.trials, smoke.incumbent.gbdt.folds, smoke.title) == (2, 4, "quick")


def test_changes_are_laid_over_last_and_in_order():
    changes = ["incumbent.gbdt.trials=3", "incumbent.gbdt.trials = 9", "gates.auc_margin=-0.01", "title=night run"]
    recipe = Recipe.from_dict(PLAIN, preset="smoke", changes=changes)
    assert recipe.incumbent.gbdt.trials == 9
    assert recipe.incumbent.gbdt.folds == 4
    assert recipe.gates.auc_margin == -0.01
    assert recipe.title == "night run"


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ('title="a = b"', "a = b"),
        ("title=", ""),
        ("title='true'", "true"),
        ("title=2020-13-45", "2020-13-45"),
    ],
)
def test_a_value_is_read_as_toml_and_as_text_where_it_is_none(change, read):
    assert Recipe.from_dict(PLAIN, changes=[change]).title == read


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("gates.auc_margin", "--set takes key=value"),
        ("=3", "--set takes key=value"),
        ("gates..auc_margin=1", "--set takes key=value"),
        ("gates.auc-margin=1", "--set takes key=value"),
        ("gate.auc_margin=-0.1", r"recipe knows only the keys .*: 'gate' is not one of them"),
        ("gates.auc=-0.1", r"recipe.gates knows only the keys .*: 'auc' is not one of them"),
        ("gates.auc_margin=lots", "recipe.gates.auc_margin must be of type float: it is 'lots'"),
        ("gates.auc_margin=0.2", "auc_margin is in"),
        ("incumbent.gbdt.trials=0", "trials must be at least 1"),
        ("incumbent.gbdt=30", "recipe.incumbent.gbdt must be of type GbdtConfig: it is 30"),
        ("incumbent.kind=forest", "incumbent.kind must be lightgbm, scorecard, file or scores: it is 'forest'"),
        ("incumbent.kind=file", "incumbent.path goes with"),
        ("incumbent.path=model.txt", "incumbent.path goes with"),
        ("incumbent.column=points", "incumbent.column goes with"),
        ("incumbent.higher_is=good", "incumbent.higher_is must be worse or better: it is 'good'"),
        ("measure.calls=3", "measure.resamples and measure.calls must be at least 100"),
        ("refresh.slice=1", r"refresh.slice must lie in \(0, 1\)"),
        ("data.book=cards", "data.book must be sme, card or aml: it is 'cards'"),
        ("data.share=-0.1", "data.accounts and data.share must not be negative"),
        ("data.accounts=500", "data.accounts and data.share are for the books card and aml"),
        ("steps=distill", "recipe.steps must be a list"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(change, told):
    with pytest.raises(ConfigError, match=told):
        Recipe.from_dict(PLAIN, changes=[change])


def test_an_unknown_preset_is_answered_with_those_there_are():
    with pytest.raises(ConfigError, match=r"one of smoke, standard: it is 'huge'"):
        Recipe.from_dict(PLAIN, preset="huge")


def test_an_unknown_technique_or_setting_fails_before_anything_is_trained():
    with pytest.raises(ConfigError, match="technique must be one of distill"):
        Recipe.from_dict({**PLAIN, "steps": [{"technique": "shrinkray"}]})
    with pytest.raises(ConfigError, match="'speed' is not one of them"):
        Step("distill", {"speed": 9})
    with pytest.raises(ConfigError, match="must be one of tiny, swift, mid, base: it is 'huge'"):
        Step("distill", {"preset": "huge"})
    with pytest.raises(ConfigError, match="needs the key 'technique'"):
        Recipe.from_dict({**PLAIN, "steps": [{"label": "first"}]})
    with pytest.raises(ConfigError, match="needs the key 'name'"):
        Recipe.from_dict({})


def test_labels_tell_steps_apart():
    assert Step("distill").label == "distill"
    twice = [{"technique": "distill"}, {"technique": "distill"}]
    with pytest.raises(ConfigError, match="labels of their own: distill, distill"):
        Recipe.from_dict({**PLAIN, "steps": twice})
    named = [{"technique": "distill"}, {"technique": "distill", "label": "again", "unless": "distill"}]
    assert [step.label for step in Recipe.from_dict({**PLAIN, "steps": named}).steps] == ["distill", "again"]


@pytest.mark.parametrize("unless", ["again", "nothing"])
def test_unless_names_an_earlier_step(unless):
    steps = [{"technique": "distill"}, {"technique": "distill", "label": "again", "unless": unless}]
    with pytest.raises(ConfigError, match=f"unless = '{unless}' must be the label of an earlier step"):
        Recipe.from_dict({**PLAIN, "steps": steps})


def test_brought_models_go_with_their_place():
    assert IncumbentConfig(kind="file", path="model.onnx", columns=("a", "b"), output="p").columns == ("a", "b")
    assert IncumbentConfig(kind="scores", column="points", higher_is="better").column == "points"
    with pytest.raises(ConfigError, match="Give both"):
        IncumbentConfig(kind="scores", path="model.txt")


def test_parts_check_themselves():
    assert SimulatedData().features == 217
    with pytest.raises(ConfigError):
        MeasureConfig(budget=0.0)
    with pytest.raises(ConfigError):
        RefreshConfig(slice=0.0)


def test_a_recipe_is_plain_json_that_tells_recipes_apart():
    assert tiny_recipe().to_dict() == tiny_recipe().to_dict()
    assert tiny_recipe("gates.ks_margin=-0.2").to_dict() != tiny_recipe().to_dict()


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"'.*gone.toml' is not"):
        Recipe.read(tmp_path / "gone.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ConfigError, match="valid TOML"):
        Recipe.read(broken)
