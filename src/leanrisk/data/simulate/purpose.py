"""What a firm writes into the field "purpose of the loan": sentences some of whose words tell of its distress."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from leanrisk.core.schema import Column, Kind
from leanrisk.core.seeding import generator
from leanrisk.data.simulate.draws import Floats

PURPOSE = Column("purpose", Kind.TEXT, note="Free text of the application, one in five in Chinese, some left empty.")

_MEAN, _SPREAD = np.float32(-4.4), np.float32(1.9)
"""Roughly those of the log-odds of default over a book: fixed, so that a text does not depend on the other rows."""
_RELIABILITY = np.float32(0.5)
"""Correlation of the tone of a text with the log-odds: a clerk reads as much, no more."""
_CUTS = (-0.9, -0.1, 0.7, 1.5)
_CHINESE, _EMPTY, _PLAIN = 0.2, 0.03, 0.25

_WHAT = (
    "a delivery van", "two lathes", "stock for the season", "a cold store", "new ovens", "solar panels for the roof",
    "a second shop", "software and tills", "a larger workshop", "winter fodder", "spare parts", "a truck and trailer",
    "packing machines", "raw timber", "steel for a signed order", "office furniture",
)  # fmt: skip
_ASK = (
    "We need the loan for",
    "Purpose:",
    "The money goes into",
    "To buy",
    "Application for",
    "We would like to finance",
)
_WHY = (
    ("orders are growing and our customers pay in advance", "paid from own profits in part, the rest from this loan",
     "the framework contract was renewed for three years", "no other debt, and reserves for half a year"),
    ("orders are steady", "a regular customer asked for more", "the old one is written off",
     "agreed with our tax adviser"),
    ("as last year", "the offer ends this month", "our landlord asked for it", "details in the enclosed list"),
    ("some invoices are still open", "sales fell a little this quarter", "the bank line is fully drawn",
     "our largest customer pays late"),
    ("wages and overdue taxes come first", "to repay an older loan that fell due",
     "suppliers deliver only against cash", "payment was missed twice, creditors are waiting"),
)  # fmt: skip
_WHAT_CHINESE = ("送货车", "两台车床", "季节性备货", "冷库", "新烤箱", "第二家店铺", "包装设备", "钢材")
_WHY_CHINESE = (
    ("订单增长，客户预付款", "自有资金充足，无其他负债"),
    ("订单稳定", "老客户追加订单"),
    ("与去年相同", "明细见附件"),
    ("部分应收账款未收回", "本季度销售略有下降"),
    ("需先付工资和欠税", "用于归还到期旧贷款，供应商只收现款"),
)


def purposes(log_odds: Floats, *, seed: int, block: int) -> pa.Array:
    """Return a text for each loan of a block, null where the field was left empty; log_odds: shape (rows,).

    A quarter of the texts tell nothing beyond what is bought; the others have a tone that goes with the log-odds.
    """
    rng, rows = generator(seed, "sme", str(block), "purpose"), log_odds.size
    noise = rng.standard_normal(rows).astype(np.float32)
    standard = (log_odds - _MEAN) / _SPREAD
    tone = np.searchsorted(_CUTS, _RELIABILITY * standard + np.sqrt(1 - _RELIABILITY**2) * noise)
    draws: npt.NDArray[np.float64] = rng.random((6, rows))
    return pa.array(
        [_sentence(int(level), draw) for level, draw in zip(tone, draws.T.tolist(), strict=True)], pa.string()
    )


def _sentence(tone: int, draw: list[float]) -> str | None:
    if draw[0] < _EMPTY:
        return None
    chinese = draw[1] < _CHINESE
    what = _pick(_WHAT_CHINESE if chinese else _WHAT, draw[2])
    if draw[3] < _PLAIN:
        return f"购买{what}。" if chinese else f"{_pick(_ASK, draw[4])} {what}."
    why = _pick((_WHY_CHINESE if chinese else _WHY)[tone], draw[5])
    return f"购买{what}，{why}。" if chinese else f"{_pick(_ASK, draw[4])} {what}; {why}."


def _pick(choices: tuple[str, ...], draw: float) -> str:
    return choices[int(draw * len(choices))]
