"""Losses of a variance forecast, row by row: absolute error of the volatility, and QLIKE.

Both compare with a proxy, since the variance of a day is never seen. QLIKE ranks forecasts as the true variance would,
whatever noise an unbiased proxy carries; the absolute error does not, and is shown because it can be read: it is in
per cent of price a day (Patton 2011, "Volatility forecast comparison using imperfect volatility proxies").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import DataError, Fault

Floats = npt.NDArray[np.float64]


def volatility_errors(proxy: npt.ArrayLike, forecast: npt.ArrayLike) -> Floats:
    """Return |sqrt(forecast) - sqrt(proxy)| in per cent of price; both are daily variances of log returns, any shape.

    Raises `DataError` for shapes that differ, forecasts that are not above zero or proxies below zero.
    """
    truth, told = _checked(proxy, forecast)
    return np.asarray(100.0 * np.abs(np.sqrt(told) - np.sqrt(truth)), dtype=np.float64)


def qlike_losses(proxy: npt.ArrayLike, forecast: npt.ArrayLike) -> Floats:
    """Return `p / h - log(p / h) - 1` for proxy p and forecast h, 0 where they agree; same shapes and errors as above.

    A proxy of zero, as a day without any move leaves, has an infinite loss and is refused: floor it first.
    """
    truth, told = _checked(proxy, forecast)
    if (truth <= 0).any():
        raise DataError(
            Fault(
                "zero-variance", "QLIKE needs proxies above zero: some are not.", "Floor the proxy, at a tick's move."
            )
        )
    ratio = truth / told
    return np.asarray(ratio - np.log(ratio) - 1.0, dtype=np.float64)


def _checked(proxy: npt.ArrayLike, forecast: npt.ArrayLike) -> tuple[Floats, Floats]:
    truth, told = np.asarray(proxy, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    if truth.shape != told.shape or truth.size == 0:
        raise DataError(
            Fault(
                "not-aligned",
                f"there must be one forecast for each proxy: {told.shape} against {truth.shape}.",
                "Score the same days again.",
            )
        )
    if not (np.isfinite(told) & (told > 0)).all() or not (np.isfinite(truth) & (truth >= 0)).all():
        raise DataError(
            Fault("not-a-variance", "a variance is finite and above zero: some are not.", "Leave those days out.")
        )
    return truth, told
