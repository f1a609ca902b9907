"""How figures are printed: a true minus sign, no-break units, one number of decimals down a column."""

from __future__ import annotations

from collections.abc import Sequence

MINUS = "\u2212"
ABSENT = "\u2013"
QUALITY_DIGITS = 4
_GAP = "\u00a0"
_FIGURE_SPACE = "\u2007"
_BYTE_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))


def fixed(value: float, digits: int = QUALITY_DIGITS) -> str:
    """Return `value` with this many decimals and thousands marked by commas."""
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float, digits: int = QUALITY_DIGITS) -> str:
    """Return `value` with its sign, plus included."""
    text = fixed(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.,") else text


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage: 0.051 gives "5.1%"."""
    return f"{fixed(100 * share, digits)}%"


def signed_percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage with its sign."""
    return f"{signed(100 * share, digits)}%"


def relative(before: float, after: float) -> float | None:
    """Return the change from `before` to `after` as a share of `before`; None where `before` is zero."""
    return None if before == 0 else (after - before) / abs(before)


def digits_for(values: Sequence[float | None], most: int = 4) -> int:
    """Return how many decimals show the smallest of these figures to three places, `most` at most."""
    smallest = min((abs(value) for value in values if value), default=100.0)
    return next(
        (digits for digits, bound in enumerate((100.0, 10.0, 1.0, 0.1)) if smallest >= bound and digits < most), most
    )


def step_digits(step: float, most: int = 5) -> int:
    """Return how many decimals tell apart the ticks of an axis that are `step` apart."""
    return next((digits for digits in range(most) if abs(round(step, digits) - step) < 1e-6 * step), most)


def measured(values: Sequence[float | None], unit: str = "", *, digits: int | None = None) -> list[str]:
    """Return figures of one row in one unit with the same decimals; None gives a dash."""
    digits = digits_for(values) if digits is None else digits
    tail = f"{_GAP}{unit}" if unit else ""
    return [ABSENT if value is None else f"{fixed(value, digits)}{tail}" for value in values]


def counted(value: float | None) -> str:
    """Return a whole number, or a dash."""
    return ABSENT if value is None else fixed(value, 0)


def sizes(values: Sequence[float | None]) -> list[str]:
    """Return byte counts of one row in the decimal unit that suits the largest."""
    largest = max((value for value in values if value is not None), default=0.0)
    unit, factor = next(((unit, factor) for unit, factor in _BYTE_UNITS if largest >= factor), ("B", 1.0))
    digits = 0 if unit == "B" else 2
    return [ABSENT if value is None else f"{fixed(value / factor, digits)}{_GAP}{unit}" for value in values]


def money(value: float, currency: str | None) -> str:
    """Return an amount with its currency code; amounts below one keep four decimals."""
    return f"{currency}{_GAP}{amount(value)}" if currency else amount(value)


def amount(value: float, *, padded: bool = False) -> str:
    """Return an amount with two decimals, four below one; `padded` fills up, so that points stand in line."""
    if 0 < abs(value) < 1:
        return fixed(value, 4)
    return fixed(value, 2) + (2 * _FIGURE_SPACE if padded else "")
