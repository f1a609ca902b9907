"""Daily prices of a panel of assets, whatever way a file holds them: checked, complete, in the order of days."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import DataError, Fault
from leanrisk.data.dates import parsed_dates
from leanrisk.data.read import read_table

Floats = npt.NDArray[np.float64]

_DAY, _ASSET = ("date", "day", "caldt"), ("asset", "name", "ticker", "symbol")
_BAR = ("open", "high", "low", "close")
_TRUE_VOL = "_true_vol"
_MOST_MISSING = 0.01
"""Share of days that an asset may lack; such a day counts as one without a trade."""
_ENDINGS = (".parquet", ".pq", ".csv", ".arrow", ".feather", ".ipc")
_INDEX = "index"


@dataclass(frozen=True)
class Prices:
    """Prices of `assets` on trading days, float64 (days, assets); `dates` (days,) rise and no price is missing.

    `open`, `high` and `low` are None where only closes are known. `realised` is a daily variance from within the day,
    of log returns, where it was given; `fear` (days,) an index of implied volatility in per cent a year, such as VIX;
    `true_vol` what a simulator knows of each day's return. `notes` say what was left out or filled.
    """

    dates: npt.NDArray[np.datetime64]
    assets: tuple[str, ...]
    close: Floats
    open: Floats | None = None
    high: Floats | None = None
    low: Floats | None = None
    realised: Floats | None = None
    fear: Floats | None = None
    true_vol: Floats | None = None
    notes: tuple[str, ...] = ()

    @property
    def days(self) -> int:
        """Number of trading days."""
        return self.dates.size

    @property
    def returns(self) -> Floats:
        """Log returns from close to close, (days, assets); the first day has none: 0."""
        moves = np.zeros_like(self.close)
        moves[1:] = np.diff(np.log(self.close), axis=0)
        return moves

    def of(self, assets: int, days: int = 0) -> Prices:
        """Return at most this many assets, evenly spread over the list, and the last `days` days; 0 keeps all."""
        count = len(self.assets)
        places = np.arange(count) if not 0 < assets < count else np.linspace(0, count - 1, assets).round().astype(int)
        first = max(0, self.days - days) if days else 0

        def cut(values: Floats | None) -> Floats | None:
            return None if values is None else values[first:, places]

        return replace(
            self,
            dates=self.dates[first:],
            assets=tuple(self.assets[place] for place in places),
            close=self.close[first:, places],
            open=cut(self.open),
            high=cut(self.high),
            low=cut(self.low),
            realised=cut(self.realised),
            fear=None if self.fear is None else self.fear[first:],
            true_vol=cut(self.true_vol),
        )


def read_prices(place: Path | str, *, fear: Path | str | None = None) -> Prices:
    """Return the prices in a file, or in the one table of a folder.

    Three forms are known by their columns: one row for a day and an asset (a date, a name, and close or all of open,
    high, low, close); one row for a day with a column of closes for each asset; or one series as `return` and `rv`, in
    per cent and squared per cent. `fear`: a file of an index of implied volatility, with a date and a close; a day that
    it lacks takes the last one known. Raises `DataError` for a table of none of these forms, days that stand twice,
    prices that are not above zero, or assets of which too many days are missing.
    """
    file = _table_of(Path(place))
    prices = prices_of(read_table(file))
    return prices if fear is None else replace(prices, fear=_fear(read_table(_table_of(Path(fear))), prices.dates))


def prices_of(frame: pl.DataFrame) -> Prices:
    """Return the prices in a table of one of the forms that `read_prices` knows; raises as it does."""
    day = _named(frame, _DAY)
    if day is None:
        raise _fault("no-date", "prices need a column of days: there is none", "Name it 'date'.")
    frame = frame.with_columns(_dates(frame[day]).alias(day))
    asset = _named(frame, _ASSET)
    bars = {name: found for name in _BAR if (found := _named(frame, (name,))) is not None}
    if asset is not None and "close" in bars:
        return _long(frame, day, asset, bars)
    if {"return", "rv"} <= set(frame.columns):
        return _series(frame, day)
    return _wide(frame, day)


def _long(frame: pl.DataFrame, day: str, asset: str, bars: dict[str, str]) -> Prices:
    if frame.select(pl.struct(day, asset).is_duplicated().any()).item():
        raise _fault("duplicate-day", "an asset has one bar a day: some have two", "Keep one of them.")
    whole = all(name in bars for name in _BAR)
    wanted = dict(bars) if whole else {"close": bars["close"]}
    if _TRUE_VOL in frame.columns:
        wanted[_TRUE_VOL] = _TRUE_VOL
    dates, names = (frame[column].unique().sort() for column in (day, asset))
    rows, places = (frame[column].rank("dense").to_numpy().astype(np.int64) - 1 for column in (day, asset))
    arrays = {}
    for name, column in wanted.items():
        arrays[name] = np.full((dates.len(), names.len()), np.nan)
        arrays[name][rows, places] = frame[column].cast(pl.Float64).to_numpy()
    return _checked(dates.to_numpy().astype("datetime64[D]"), tuple(names.cast(pl.String).to_list()), arrays)


def _wide(frame: pl.DataFrame, day: str) -> Prices:
    names = [name for name, dtype in frame.schema.items() if name != day and dtype.is_numeric()]
    if not names:
        raise _fault("no-prices", "a table of prices has a numeric column for each asset: there is none", "Add one.")
    ordered = frame.sort(day)
    if ordered[day].is_duplicated().any():
        raise _fault("duplicate-day", "a day has one row: some have two", "Keep one of them.")
    dates = ordered[day].to_numpy().astype("datetime64[D]")
    return _checked(dates, tuple(names), {"close": ordered.select(names).to_numpy().astype(np.float64)})


def _series(frame: pl.DataFrame, day: str) -> Prices:
    """Read one series of returns in per cent with its realised variance; days before the variance are left out."""
    known = frame.sort(day).filter(pl.col("return").is_not_null() & (pl.col("rv") > 0))
    close = 100.0 * np.exp(np.cumsum(known["return"].to_numpy() / 100.0))[:, None]
    fear = known["vix"].cast(pl.Float64).fill_null(strategy="forward").to_numpy() if "vix" in known.columns else None
    prices = Prices(known[day].to_numpy().astype("datetime64[D]"), (_INDEX,), close)
    whole = fear is not None and bool(np.isfinite(fear).all())
    return replace(prices, realised=known["rv"].to_numpy()[:, None] / 1e4, fear=fear if whole else None)


def _checked(dates: npt.NDArray[np.datetime64], names: tuple[str, ...], arrays: dict[str, Floats]) -> Prices:
    """Return the assets that are whole enough, their gaps filled as days without a trade."""
    close, notes = arrays["close"], []
    missing = np.isnan(close)
    kept = (missing.mean(axis=0) <= _MOST_MISSING) & ~missing[0]
    if not kept.any():
        raise _fault("no-whole-asset", "no asset has a price on nearly every day", "Shorten the period.")
    if not kept.all():
        notes.append(f"{int((~kept).sum())} of {kept.size} assets left out: days of theirs are missing.")
    names = tuple(name for name, keep in zip(names, kept, strict=True) if keep)
    arrays = {name: values[:, kept] for name, values in arrays.items()}
    gaps = int(np.isnan(arrays["close"]).sum())
    close = _carried(arrays["close"])
    if not (close > 0).all():
        raise _fault("not-a-price", "a price is above zero: some are not", "Mend or remove those days.")
    if gaps:
        notes.append(f"{gaps} days without a close count as days without a trade.")
    if "high" not in arrays:
        return Prices(dates, names, close, true_vol=arrays.get(_TRUE_VOL), notes=tuple(notes))
    before = np.vstack([close[:1], close[:-1]])
    opening = np.where(np.isnan(arrays["open"]), before, arrays["open"])
    broken = int(sum(np.isnan(arrays[name]).sum() for name in ("open", "high", "low")))
    if broken:
        notes.append(f"{broken} missing opens, highs or lows were taken from the closes about them.")
    top, bottom = np.maximum(opening, close), np.minimum(opening, close)
    high, low = np.fmax(arrays["high"], top), np.fmin(arrays["low"], bottom)
    if not ((opening > 0) & (low > 0)).all():
        raise _fault("not-a-price", "a price is above zero: some are not", "Mend or remove those days.")
    return Prices(dates, names, close, opening, high, low, true_vol=arrays.get(_TRUE_VOL), notes=tuple(notes))


def _carried(values: Floats) -> Floats:
    """Return the values with each gap filled by the last one before it."""
    days = np.where(np.isnan(values), 0, np.arange(values.shape[0])[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(days, axis=0), axis=0)


def _fear(frame: pl.DataFrame, dates: npt.NDArray[np.datetime64]) -> Floats:
    day, close = _named(frame, _DAY), _named(frame, ("close", "vix"))
    if day is None or close is None:
        raise _fault("no-index", "an index of implied volatility has a date and a close", "Name them so.")
    known = frame.select(_dates(frame[day]).alias("day"), pl.col(close).cast(pl.Float64)).drop_nulls().sort("day")
    at = np.searchsorted(known["day"].to_numpy().astype("datetime64[D]"), dates, side="right") - 1
    if (at < 0).any():
        raise _fault("index-too-short", "the index must begin no later than the prices", "Shorten the period.")
    return known[close].to_numpy()[at]


def _dates(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        parsed = parsed_dates(values)
        values = values.str.to_date(strict=False) if parsed is None else parsed
    if not values.dtype.is_temporal() or values.null_count():
        raise _fault("not-a-day", "days are dates such as 2024-01-31: some are not", "Mend that column.")
    return values.cast(pl.Date)


def _named(frame: pl.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((column for column in frame.columns if column.lower() in names), None)


def _table_of(place: Path) -> Path:
    """Return the file itself, or the only table in a folder; raises `DataError` where there are none or several."""
    if not place.is_dir():
        return place
    found = sorted(file for file in place.iterdir() if file.suffix.lower() in _ENDINGS)
    if len(found) != 1:
        listed = ", ".join(file.name for file in found) or "none"
        raise _fault("which-table", f"a folder of prices holds one table: '{place}' holds {listed}", "Name the file.")
    return found[0]


def _fault(code: str, message: str, way_out: str) -> DataError:
    return DataError(Fault(code, f"{message}.", way_out))
