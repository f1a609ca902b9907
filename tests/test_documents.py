"""Documents tell the truth: both READMEs the same, every link leads somewhere, every default is the code's."""

import re
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from leanrisk.core.config import configured
from leanrisk.core.constraints import Constraints
from leanrisk.core.memory import Fact, Memory
from leanrisk.core.schema import Schema
from leanrisk.graph.facts import fact_names
from leanrisk.pipelines.recipe import Recipe, SimulatedData
from leanrisk.registry.place import RegistryConfig
from leanrisk.serve.settings import ServeConfig
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.distill import Distill
from leanrisk.techniques.freeze import Freeze
from leanrisk.techniques.lora import Lora
from leanrisk.techniques.read_text import ReadText
from leanrisk.techniques.synthesize.technique import Synthesize
from leanrisk.techniques.tuning import LoraSettings

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def fenced(text: str) -> list[str]:
    return re.findall(r"^```\w+\n.*?^```$", text, re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (ROOT / "docs/how-to" / f"{name}.md").read_text(encoding="utf-8")


def toml_of(text: str) -> str:
    (block,) = (block for block in fenced(text) if block.startswith("```toml"))
    return block.removeprefix("```toml\n").removesuffix("```")


def test_both_languages_show_the_same_commands_examples_and_output():
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert len(fenced(english)) >= 4
    assert fenced(english) == fenced(chinese)


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_recipe_of_the_guide_names_every_key_with_its_default():
    text = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    shown = tomllib.loads(toml_of(text))
    recipe = Recipe.from_dict(shown)
    assert recipe == replace(Recipe("my-book"), data=SimulatedData(), rates="rates.toml", steps=recipe.steps)
    for section in ("split", "gates", "measure", "teacher"):
        assert set(shown[section]) == set(recipe.to_dict()[section])
    assert set(shown["incumbent"]) | {"path", "column", "output"} == set(recipe.to_dict()["incumbent"])
    assert set(shown["incumbent"]["gbdt"]) == set(recipe.to_dict()["incumbent"]["gbdt"])
    assert set(shown) == set(recipe.to_dict()) | {"presets"}


def lora_and_freeze():
    blocks = re.findall(r"^```toml\n(.*?)^```$", page("lora-and-freeze"), flags=re.MULTILINE | re.DOTALL)
    steps = [step for block in blocks for step in tomllib.loads(block)["steps"]]
    return {step["technique"]: step["settings"] for step in steps}


def test_the_memory_of_its_how_to_reads_and_its_step_has_the_defaults():
    section, step = re.findall(r"^```toml\n(.*?)^```$", page("memory"), flags=re.MULTILINE | re.DOTALL)
    memory = Schema.from_dict(tomllib.loads(section)).memory
    assert memory is not None
    shown = tomllib.loads(section)["memory"]
    assert set(shown) == {entry.name for entry in fields(Memory)}
    assert memory == replace(
        Memory(entities=memory.entities, links=memory.links, edges=memory.edges),
        **{name: shown[name] for name in ("known", "maturity", "amount")},
    )
    assert set(memory.entities[0].facts) == set(Fact)
    names = [name for name in fact_names(memory) if name.startswith("memory.bank.")]
    for told in re.findall(r"`(memory\.bank\.\w+)`", page("memory")):
        assert told in names
    first, _ = tomllib.loads(step)["steps"]
    assert technique("memory", first["settings"]) == technique("memory", {})


def test_the_settings_of_the_selection_are_the_defaults():
    (step,) = tomllib.loads(toml_of(page("select")))["steps"]
    shown = technique(step["technique"], step["settings"])
    assert shown == technique("select", {})
    assert set(step["settings"]) == {entry.name for entry in fields(shown)} - {"name"}  # type: ignore[arg-type]


def test_the_step_that_reads_texts_has_the_defaults_of_its_how_to():
    step, book = re.findall(r"^```toml\n(.*?)^```$", page("text"), flags=re.MULTILINE | re.DOTALL)
    first, _ = tomllib.loads(step)["steps"]
    shown = technique("text", first["settings"])
    assert isinstance(shown, ReadText)
    # The body alone has a shallow default of its own; a bag has no blocks.
    assert shown == ReadText()
    assert Recipe.from_dict({"name": "x", **tomllib.loads(book)}).data == SimulatedData("sme", 40000, 80, text=True)


def test_the_settings_of_made_bads_are_the_defaults_and_their_rules_read():
    rules, step = re.findall(r"^```toml\n(.*?)^```$", page("synthesize"), flags=re.MULTILINE | re.DOTALL)
    read = configured(Constraints, tomllib.loads(rules)["constraints"], where="constraints")
    assert read.steps() == ("total", "decided")
    (shown,) = tomllib.loads(step)["steps"]
    assert technique("synthesize", shown["settings"]) == technique("synthesize", {})
    assert set(shown["settings"]) == {entry.name for entry in fields(Synthesize)} - {"name"}


def test_the_settings_of_the_how_tos_are_the_defaults():
    blocks = re.findall(r"^```toml\n(.*?)^```$", page("distill"), flags=re.MULTILINE | re.DOTALL)
    (step,) = tomllib.loads(blocks[-1])["steps"]
    settings = step["settings"]
    assert technique("distill", settings) == technique("distill", {})
    plain = asdict(Distill())
    for section in ("encoder", "classroom", "training"):
        assert set(settings[section]) == set(plain[section])
    assert technique("freeze", lora_and_freeze()["freeze"]) == technique("freeze", {})
    lora = technique("lora", lora_and_freeze()["lora"])
    assert isinstance(lora, Lora)
    # What the page shows are the values that the defaults settle on where nothing is frozen.
    assert lora.adapter.settled(frozen=False) == Lora().adapter.settled(frozen=False)
    assert replace(lora, adapter=Lora().adapter) == Lora()
    assert set(lora_and_freeze()["lora"]["adapter"]) == set(asdict(Lora())["adapter"])
    assert set(lora_and_freeze()["freeze"]["frontier"]) | {"start", "most"} == set(asdict(Freeze())["frontier"])
    shown = tomllib.loads(toml_of(page("refresh")))
    settled = shown["refresh"]["teach"].pop("lora")
    assert configured(LoraSettings, settled, where="lora").settled(frozen=False) == LoraSettings().settled(frozen=False)
    assert Recipe.from_dict({"name": "x", **shown}) == Recipe("x")


def test_the_settings_of_a_registry_are_the_defaults():
    shown = tomllib.loads(toml_of(page("registry")))
    assert set(shown) == {entry.name for entry in fields(RegistryConfig)}
    assert RegistryConfig(shown["database"], shown["snapshots"]) == RegistryConfig(**shown)
    assert RegistryConfig.read("registry").database == shown["database"]


def test_the_settings_of_the_service_are_the_defaults():
    shown = tomllib.loads(toml_of(page("serve")))
    assert configured(ServeConfig, shown, where="serve") == ServeConfig(bundle="run/bundle")
    for section in ("points", "policy", "limits", "shadow"):
        assert set(shown[section]) == set(asdict(ServeConfig(bundle="x"))[section])
