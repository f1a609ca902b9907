from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError
from leanrisk.core.measurement import Cost
from leanrisk.cost.rates import Quantity, RateCard, break_even

CARD = RateCard("CNY", cpu_core_hour=0.36, label=5.0, feature_lookup=0.1, analyst_day=1000.0, gpu_hour={"a100": 36.0})
NOTHING = Cost(0.0, 0.0, 0.0)


def test_each_unit_has_its_price() -> None:
    assert CARD.price(Cost(cpu_s=100.0, wall_s=7.0, peak_rss_mb=9.0)) == pytest.approx(0.01)
    assert CARD.price(Cost(0.0, 0.0, 0.0, gpu_s=100.0), gpu="A100") == pytest.approx(1.0)
    counts = {"labels": 2, "feature_lookups": 30, "analyst_days": 0.5, "storage_gb_months": 4, "money": 12.5}
    assert CARD.price(NOTHING, counts) == pytest.approx(10 + 3 + 500 + 0 + 12.5)


def test_every_quantity_can_be_priced() -> None:
    for quantity in Quantity:
        price = CARD.price(NOTHING, {quantity.value: 1.0})
        assert price is not None
        assert price >= 0.0


def test_what_has_no_price_is_refused_not_free() -> None:
    with pytest.raises(ConfigError, match="one of labels"):
        CARD.price(NOTHING, {"features": 1.0})
    with pytest.raises(ConfigError, match="labels is nan"):
        CARD.price(NOTHING, {"labels": math.nan})


def test_a_gpu_without_a_price_has_no_price_and_ends_nothing() -> None:
    on_gpu = Cost(3600.0, 0.0, 0.0, gpu_s=1.0)
    assert CARD.price(on_gpu, gpu="h100") is None
    assert CARD.unpriced(on_gpu, gpu="h100") == (
        "No price for GPU 'h100': the rate card has a100. Add it under gpu_hour."
    )
    assert "'unknown'" in CARD.unpriced(on_gpu, gpu="")
    assert CARD.unpriced(on_gpu, gpu="A100") == CARD.unpriced(NOTHING, gpu="h100") == ""


def test_the_shipped_card_says_that_it_is_assumed() -> None:
    card = RateCard.default()
    assert card.currency == "CNY"
    assert min(card.cpu_core_hour, card.label, card.feature_lookup, card.analyst_day, *card.gpu_hour.values()) > 0.0
    priced = {"cpu_core_hour", "gpu_hour", "label", "feature_lookup", "analyst_day", "storage_gb_month"}
    assert set(card.notes) == priced


def test_a_card_is_read_from_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "rates.toml"
    path.write_text(
        'currency = "EUR"\ncpu_core_hour = 1\nlabel = 2.5\nfeature_lookup = 0\nanalyst_day = 900\n'
        "[gpu_hour]\nl4 = 1.5\n"
    )
    card = RateCard.read(path)
    assert (card.currency, card.label, card.gpu_hour) == ("EUR", 2.5, {"l4": 1.5})
    path.write_text('currency = "EUR"\n')
    with pytest.raises(ConfigError, match="needs the key 'cpu_core_hour'"):
        RateCard.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"currency": "yuan"}, "ISO 4217"),
        ({"label": -1.0}, "label is -1.0"),
        ({"analyst_day": math.inf}, "analyst_day is inf"),
        ({"gpu_hour": {"t4": math.nan}}, "gpu_hour.t4 is nan"),
    ],
)
def test_a_card_without_sense_is_refused(change: dict[str, object], message: str) -> None:
    values: dict[str, object] = {
        "currency": "CNY",
        "cpu_core_hour": 0.3,
        "label": 5.0,
        "feature_lookup": 0.1,
        "analyst_day": 2000.0,
    }
    with pytest.raises(ConfigError, match=message):
        RateCard(**{**values, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one_off", "before", "after", "rounds"),
    [(100.0, 10.0, 0.0, 10), (101.0, 10.0, 0.0, 11), (0.3, 0.2, 0.1, 3), (5.0, 1.0, 1.0, None), (5.0, 1.0, 2.0, None)],
)
def test_break_even_counts_whole_rounds(one_off: float, before: float, after: float, rounds: int | None) -> None:
    assert break_even(one_off, before, after) == rounds


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e4), st.floats(0.0, 1e4))
@settings(deadline=None)
def test_break_even_is_the_first_round_that_has_paid(one_off: float, saving: float, after: float) -> None:
    rounds = break_even(one_off, after + saving, after)
    assert rounds is not None
    actual = (after + saving) - after
    assert rounds * actual >= one_off * (1 - 1e-9)
    assert (rounds - 1) * actual < one_off
    assert break_even(0.0, 1.0, 2.0) == 0
