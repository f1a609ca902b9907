"""Filtered historical simulation: a variance forecast, and the tail of past standardised returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, DataError, Fault

Floats = npt.NDArray[np.float64]

_FREEDOMS = (2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 25.0, 50.0)
_FITTED_TO = 4000


@dataclass(frozen=True)
class Tail:
    """A quantile and the mean beyond it, both signed: losses are below zero."""

    quantile: float
    shortfall: float


def empirical_tail(values: npt.ArrayLike, *, tail: float) -> Tail:
    """Return the quantile at `tail` of these values, (values,), and the mean of those not above it.

    The quantile is interpolated between order statistics (Hyndman and Fan's type 7). Raises `DataError` where the tail
    holds less than one value.
    """
    told = np.asarray(values, dtype=np.float64)
    if not 0 < tail < 0.5:
        raise ConfigError(f"A tail is a share below one half, such as 0.01 for 99 %: it is {tail!r}. Correct it.")
    if told.ndim != 1 or told.size * tail < 1 or not np.isfinite(told).all():
        raise DataError(
            Fault(
                "tail-too-thin",
                f"a tail of {tail} needs {int(np.ceil(1 / tail))} finite values or more: {told.size} were given.",
                "Lengthen the window of residuals.",
            )
        )
    quantile = float(np.quantile(told, tail))
    return Tail(quantile, float(told[told <= quantile].mean()))


def asset_tail(residuals: npt.ArrayLike, *, tail: float) -> Tail:
    """Return the tail of standardised returns, (days, assets), of all assets together.

    Times an asset's forecast volatility it is that asset's value at risk and expected shortfall. Source: Barone-Adesi,
    Giannopoulos, Vosper (1999), "VaR without correlations for portfolios of derivative securities".
    """
    return empirical_tail(np.asarray(residuals, dtype=np.float64).ravel(), tail=tail)


def portfolio_tail(residuals: npt.ArrayLike, volatility: npt.ArrayLike, weights: npt.ArrayLike, *, tail: float) -> Tail:
    """Return the tail of a portfolio's next simple return: each past day is a scenario for all assets at once.

    `residuals` (days, assets) are standardised returns, `volatility` (assets,) the forecasts for tomorrow, `weights`
    (assets,) sum to one. How assets fall together comes from the days themselves. Source as in `asset_tail`.
    """
    scenarios = np.expm1(np.asarray(residuals, dtype=np.float64) * np.asarray(volatility, dtype=np.float64))
    return empirical_tail(scenarios @ np.asarray(weights, dtype=np.float64), tail=tail)


def student_tail(residuals: npt.ArrayLike, *, tail: float) -> Tail:
    """Return the tail of the Student-t law fitted to standardised returns, whose spread is kept as it is.

    The degrees of freedom are those of the largest likelihood on a grid from 2.5 to 50; the law is scaled to the
    residuals' own standard deviation, about zero. Its expected shortfall is `-(f(x) / tail) (v + x^2) / (v - 1)` for
    the quantile x of v degrees of freedom. Source: McNeil, Frey, Embrechts (2015), "Quantitative Risk Management",
    section 2.3.4.
    """
    from scipy.stats import t

    told = np.asarray(residuals, dtype=np.float64).ravel()
    empirical_tail(told, tail=tail)
    spread = float(np.sqrt(np.mean(told**2)))
    scaled = told / spread if spread > 0 else told
    # The grid is coarse and the law smooth: a few thousand residuals say all that can be told apart.
    scaled = scaled[:: max(1, scaled.size // _FITTED_TO)]
    units = [np.sqrt((freedom - 2) / freedom) for freedom in _FREEDOMS]
    likelihoods = [
        float((t.logpdf(scaled / unit, freedom) - np.log(unit)).sum())
        for freedom, unit in zip(_FREEDOMS, units, strict=True)
    ]
    best = int(np.argmax(likelihoods))
    freedom, unit = _FREEDOMS[best], spread * units[best]
    quantile = float(t.ppf(tail, freedom))
    shortfall = -float(t.pdf(quantile, freedom)) / tail * (freedom + quantile**2) / (freedom - 1)
    return Tail(unit * quantile, unit * shortfall)
