"""GARCH(1,1) and GJR of one return series, fitted by the `arch` library and filtered day by day."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, ModelError

Floats = npt.NDArray[np.float64]

KINDS = ("garch", "gjr")
_FEWEST_DAYS = 250
_PER_CENT = 100.0
_MOST_PERSISTENCE = 0.9999


@dataclass(frozen=True)
class Garch:
    """Parameters of `h' = omega + (alpha + gamma 1{e < 0}) e^2 + beta h` with Student-t shocks, returns in per cent.

    `freedom` are the degrees of freedom of the shocks, `start` the variance before the first day. `converged` says
    whether the optimiser did. Sources: Bollerslev (1986, 1987); Glosten, Jagannathan, Runkle (1993). The likelihood is
    maximised by `arch` (Sheppard), under the University of Illinois/NCSA licence.
    """

    mean: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    freedom: float
    start: float
    converged: bool = True

    @classmethod
    def fit(cls, returns: npt.ArrayLike, *, kind: str = "garch") -> Garch:
        """Return the model fitted to log returns, (days,); raises `ModelError` for fewer than 250 days."""
        from arch import arch_model
        from arch.utility.exceptions import ConvergenceWarning

        if kind not in KINDS:
            raise ConfigError(f"A GARCH is one of {', '.join(KINDS)}: it is {kind!r}. Choose one.")
        series = _PER_CENT * np.asarray(returns, dtype=np.float64)
        if series.size < _FEWEST_DAYS or not np.isfinite(series).all() or series.std() == 0:
            raise ModelError(
                f"A GARCH needs {_FEWEST_DAYS} days or more of finite returns that move: {series.size} were given. "
                "Lengthen the window, or leave the asset out."
            )
        asked = arch_model(
            series, mean="Constant", vol="GARCH", p=1, o=int(kind == "gjr"), q=1, dist="t", rescale=False
        )
        with warnings.catch_warnings():
            # What did not converge is told by the flag; the library warns of it on top.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = asked.fit(disp="off", show_warning=False)
        told = dict(zip(found.params.index, found.params.to_numpy(), strict=True))
        return cls(
            mean=float(told["mu"]),
            omega=float(told["omega"]),
            alpha=float(told["alpha[1]"]),
            gamma=float(told.get("gamma[1]", 0.0)),
            beta=float(told["beta[1]"]),
            freedom=float(told["nu"]),
            start=float(series.var()),
            converged=found.convergence_flag == 0,
        )

    @property
    def persistence(self) -> float:
        """Share of a shock to variance that is left a day later."""
        return self.alpha + 0.5 * self.gamma + self.beta

    def forecast(self, returns: npt.ArrayLike) -> Floats:
        """Return the variance of the day after each day of `returns` (days,), in squared log returns, (days,).

        The parameters stay; the variance is filtered from the first day on, so that each forecast rests on the days up
        to its own alone.
        """
        shocks = _PER_CENT * np.asarray(returns, dtype=np.float64) - self.mean
        found = np.empty(shocks.size)
        variance = self.start
        weights = self.alpha + self.gamma * (shocks < 0)
        for day, (weight, shock) in enumerate(zip(weights.tolist(), shocks.tolist(), strict=True)):
            variance = self.omega + weight * shock * shock + self.beta * variance
            found[day] = variance
        return found / _PER_CENT**2
