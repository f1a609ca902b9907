"""The page of a market-risk run: every model's losses, backtests and zones, and the days of the test in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leanrisk.report.facts import Estimate, Facts
from leanrisk.report.figure import Figure
from leanrisk.report.numbers import ABSENT, counted, fixed, measured, percent, signed_percent
from leanrisk.report.svg import Panel, Scale, drawing, element
from leanrisk.report.table import Entry, Table
from leanrisk.report.words import Words

TEMPLATE = "market.html.j2"
SECTIONS = ("summary", "volatility", "tails", "assets", "fits", "data", "limits")
_LEAN = "lean"
_ZONES = {"green": "better", "yellow": "muted", "red": "worse"}
_TICKS = 5


def context(run: Facts, evidence: Facts, words: Words) -> dict[str, Any]:
    """Return what the template reads; `words` hold its texts under `market`."""
    market = run.group("market")
    best = market.text("best_incumbent")
    return {
        "sections": SECTIONS,
        "title": words("market.title"),
        "meta": _meta(run, words),
        "verdict": _verdict(run, words, best),
        "remarks": _remarks(market, words, best),
        "chart": _days(evidence.group("market"), words),
        "tables": {
            "volatility": _volatility(market, words),
            "against": _against(market, words),
            "tails": _tails(market, words),
            "assets": _assets(market, words),
            "fits": _fits(market, words),
        },
        "facts": _facts(run, words),
        "notes": [*run.texts("data", "notes"), *evidence.texts("limits")],
    }


def _models(market: Facts) -> list[tuple[str, Facts]]:
    models = market.group("models")
    return [(name, models.group(name)) for name in models.names()]


def _name(words: Words, model: str | None) -> str:
    return ABSENT if model is None else words.named("market.model", model)


def _meta(run: Facts, words: Words) -> list[str]:
    split = run.group("data", "split")
    days, assets, period = split.number("test_days"), run.number("data", "assets"), split.texts("test")
    created = run.text("created")
    parts = [
        run.text("data", "name"),
        None if assets is None else words("market.meta_assets", assets=counted(assets)),
        None if days is None else words("market.meta_days", days=counted(days)),
        words("interval", lo=period[0], hi=period[1]) if len(period) == 2 else None,
        None if created is None else words("meta.created", day=created[:10]),
    ]
    return [part for part in parts if part]


def _verdict(run: Facts, words: Words, best: str | None) -> str:
    kept = run.at("kept")
    found = run.group("market").estimate("against", best or "", "qlike")
    if kept is None or found is None:
        return words("absent")
    told = _relation(found, words)
    return words("market.kept" if kept else "market.refused", best=_name(words, best), told=told)


def _relation(found: Estimate, words: Words) -> str:
    change = signed_percent(found.value, 2)
    if found.lo is None or found.hi is None:
        return words("market.plain", change=change)
    key = "market.lower" if found.hi < 0 else "market.higher" if found.lo > 0 else "market.same"
    return words(key, change=change, lo=signed_percent(found.lo, 2), hi=signed_percent(found.hi, 2))


def _remarks(market: Facts, words: Words, best: str | None) -> list[str]:
    lean = market.group("models", _LEAN)
    remarks = [words("market.remark_best", best=_name(words, best))]
    refit, other = (side.number("train", "refit", "cpu_s") for side in (lean, market.group("models", best or "")))
    if refit is not None and other is not None:
        remarks.append(
            words("market.remark_cost", lean=fixed(refit, 2), other=fixed(other, 2), best=_name(words, best))
        )
    zones = lean.group("portfolio", "zones")
    last, worst = (zones.text(which) for which in ("last", "worst"))
    if last and worst:
        remarks.append(
            words(
                "market.remark_zone",
                last=words.named("market.zone", last),
                last_hits=counted(zones.number("last_exceedances")),
                worst=words.named("market.zone", worst),
                worst_hits=counted(zones.number("worst_exceedances")),
            )
        )
    return remarks


def _interval(found: Estimate | None, digits: int, words: Words) -> Entry:
    if found is None:
        return Entry(words("absent"))
    if found.lo is None or found.hi is None:
        return Entry(fixed(found.value, digits))
    return Entry(fixed(found.value, digits), words("interval", lo=fixed(found.lo, digits), hi=fixed(found.hi, digits)))


def _table(words: Words, columns: tuple[str, ...], rows: Sequence[tuple[Entry, ...]]) -> Table | None:
    titles = tuple(words(f"market.column.{name}") for name in columns)
    return Table(titles, tuple(rows)) if rows else None


def _volatility(market: Facts, words: Words) -> Table | None:
    truth = any(row.at("true_mae") is not None for _, row in _models(market))
    names = ("mae", "qlike", "pinball_99", *(("true_mae",) if truth else ()))
    digits = {"mae": 3, "qlike": 4, "pinball_99": 2, "true_mae": 3}
    rows = [
        (Entry(_name(words, name)), *(_interval(row.estimate(loss), digits[loss], words) for loss in names))
        for name, row in _models(market)
    ]
    return _table(words, ("model", *names), rows)


def _against(market: Facts, words: Words) -> Table | None:
    rows = []
    for name in market.group("against").names():
        cells = []
        for loss in ("mae", "qlike", "pinball_99"):
            found = market.estimate("against", name, loss)
            if found is None or found.lo is None or found.hi is None:
                cells.append(Entry(words("absent")))
                continue
            kind = "better" if found.hi < 0 else "worse" if found.lo > 0 else "muted"
            limits = words("interval", lo=signed_percent(found.lo), hi=signed_percent(found.hi))
            cells.append(Entry(signed_percent(found.value), limits, f"move {kind}"))
        rows.append((Entry(_name(words, name)), *cells))
    return _table(words, ("incumbent", "mae_change", "qlike_change", "pinball_change"), rows)


def _tails(market: Facts, words: Words) -> Table | None:
    rows = []
    for name, row in _models(market):
        book, zones = row.group("portfolio", "99"), row.group("portfolio", "zones")
        hits, expected = book.number("exceedances"), book.number("expected")
        z2 = row.number("portfolio", "97.5", "z2")
        rows.append(
            (
                Entry(_name(words, name)),
                Entry(counted(hits), "" if expected is None else words("market.expected", count=fixed(expected, 1))),
                *(
                    Entry(*measured([book.number(test)], digits=3))
                    for test in ("kupiec_p", "independence_p", "coverage_p")
                ),
                Entry(*measured([z2], digits=2)),
                *(_zone(zones, which, words) for which in ("last", "worst")),
            )
        )
    return _table(words, ("model", "hits", "kupiec", "independence", "coverage", "z2", "last", "worst"), rows)


def _zone(zones: Facts, which: str, words: Words) -> Entry:
    zone, hits = zones.text(which), zones.number(f"{which}_exceedances")
    if zone is None:
        return Entry(words("absent"))
    return Entry(f"{words.named('market.zone', zone)} {counted(hits)}", kind=f"chip {_ZONES.get(zone, 'muted')}")


def _assets(market: Facts, words: Words) -> Table | None:
    rows = []
    for name, row in _models(market):
        found = row.group("assets")
        share = found.number("99", "share")
        zones = [
            Entry(" / ".join(counted(found.number(f"zones_{which}", zone)) for zone in _ZONES))
            for which in ("last", "worst")
        ]
        rows.append(
            (
                Entry(_name(words, name)),
                Entry(ABSENT if share is None else percent(share, 2)),
                Entry(counted(found.number("99", "kupiec_rejected"))),
                Entry(counted(found.number("99", "independence_rejected"))),
                *zones,
            )
        )
    columns = ("model", "share", "kupiec_rejected", "independence_rejected", "zones_last", "zones_worst")
    return _table(words, columns, rows)


def _fits(market: Facts, words: Words) -> Table | None:
    rows = [
        (
            Entry(_name(words, name)),
            Entry(*measured([row.number("train", "first", "cpu_s")], "s", digits=2)),
            Entry(*measured([row.number("train", "refit", "cpu_s")], "s", digits=2)),
            Entry(*measured([row.number("train", "cpu_s")], "s", digits=2)),
            Entry(words.named("market.method", row.text("method") or "")),
        )
        for name, row in _models(market)
    ]
    return _table(words, ("model", "first", "refit", "fits", "method"), rows)


def _facts(run: Facts, words: Words) -> list[tuple[str, str]]:
    data, market = run.group("data"), run.group("market")
    split, lean = data.group("split"), market.group("lean")
    told: dict[str, str | None] = {
        part: words("interval", lo=days[0], hi=days[1]) if len(days := split.texts(part)) == 2 else None
        for part in ("first_fit", "burn_in", "test")
    }
    variance, p50 = data.text("variance"), lean.number("latency_ms", "p50")
    told["variance"] = None if variance is None else words.named("market.variance", variance)
    told["features"] = counted(data.number("features"))
    told["window"] = market.text("walk", "window") and words.named("market.window", market.text("walk", "window") or "")
    told["refit_every"] = counted(market.number("walk", "refit_every"))
    told["lineage"] = " + ".join(words.named("technique", step) for step in lean.texts("lineage")) or None
    told["precision"] = lean.text("precision")
    told["latency"] = None if p50 is None else measured([1000 * p50], "µs", digits=0)[0]
    told["sha256"] = data.text("sha256")
    told["seed"] = run.text("seed")
    told["version"] = run.text("leanrisk")
    return [(words(f"market.fact.{name}"), words("absent") if value is None else value) for name, value in told.items()]


def _days(series: Facts, words: Words) -> Figure:
    """Return the portfolio's returns, the lean model's value at risk below them, and a mark where it was exceeded."""
    returns, quantile = series.numbers("returns"), series.numbers("quantiles", _LEAN)
    days = series.texts("days")
    if len(returns) < 2 or len(quantile) != len(returns) or len(days) != len(returns):
        return Figure("market_days", None)
    places = list(range(len(returns)))
    low, high = min(*returns, *quantile), max(*returns, *quantile)
    panel = Panel.of((0.0, float(places[-1])), (low - 0.05 * (high - low), high))
    ticks = [round(place * places[-1] / (_TICKS - 1)) for place in range(_TICKS)]
    parts = panel.axes(
        x_title=words("market.axis_day"),
        y_title=words("market.axis_return"),
        x_ticks=[(float(place), days[place][:7]) for place in ticks],
    )
    parts.append(panel.curve(places, returns, "train"))
    parts.append(panel.curve(places, quantile, "lean"))
    parts += [_mark(panel.x, panel.y, place, value) for place, value in enumerate(returns) if value < quantile[place]]
    legend = (
        ("line train", words("market.legend_return")),
        ("line lean", words("market.legend_quantile")),
        ("dot worse", words("market.legend_hit")),
    )
    return Figure("market_days", drawing(parts, height=310, title=words("figure.market_days.title")), legend)


def _mark(x: Scale, y: Scale, place: int, value: float) -> Any:
    return element("circle", cx=x(place), cy=y(value), r=3.4, class_="fill worse")
