"""What became of every feature on offer, counted by stage and one by one."""

from __future__ import annotations

from collections import Counter

from leanrisk.report.facts import Facts
from leanrisk.report.numbers import counted, fixed, percent
from leanrisk.report.table import Entry, Table, titles
from leanrisk.report.words import Words

STAYS = ("fixed", "kept")


def selection(run: Facts) -> Facts | None:
    """Return what the run's selection of features found, None where no step selected any."""
    found = [step.group("details") for step in run.items("steps") if step.at("details", "funnel") is not None]
    return found[-1] if found else None


def stages(run: Facts, words: Words) -> Table | None:
    """Return how many features went at each stage, the kept ones last; None without a selection."""
    found = selection(run)
    if found is None:
        return None
    counts = Counter(fate.text("stage") or "" for fate in found.items("funnel"))
    whole = sum(counts.values())
    order = sorted(counts, key=lambda stage: (stage in STAYS, -counts[stage]))
    rows = tuple(
        (
            Entry(words.named("funnel.stage", stage), words(f"funnel.about.{stage}") if _known(stage, words) else ""),
            Entry(counted(counts[stage])),
            Entry(percent(counts[stage] / whole)),
        )
        for stage in order
    )
    return Table(titles(words, "stage", "features", "share"), rows)


def fates(run: Facts, words: Words) -> Table | None:
    """Return every feature with the reason why it went or stayed, what moves the score most first."""
    found = selection(run)
    if found is None:
        return None
    listed = sorted(
        found.items("funnel"),
        key=lambda fate: (fate.text("stage") not in STAYS, -(fate.number("shap") or 0.0), fate.text("name") or ""),
    )
    rows = tuple(_row(fate, words) for fate in listed)
    return Table(titles(words, "feature", "stage", "shap", "kept_share", "iv", "psi_month", "price"), rows, 2)


def _row(fate: Facts, words: Words) -> tuple[Entry, ...]:
    name, stage, call = (fate.text(key) or "" for key in ("name", "stage", "look_up"))
    shap, error = fate.number("shap"), fate.number("shap_error")
    return (
        Entry(name, "" if call == name else call),
        Entry(
            words.named("funnel.stage", stage),
            fate.text("reason") or "",
            f"chip {'better' if stage in STAYS else 'muted'}",
        ),
        Entry(_number(shap, words), "" if error is None else f"\u00b1{fixed(error)}"),
        Entry(words("absent") if (kept := fate.number("kept_share")) is None else percent(kept, 0)),
        Entry(_number(fate.number("iv"), words, 3), _shape(fate.at("monotonic"), words)),
        Entry(_number(fate.number("psi"), words, 2)),
        Entry(_number(fate.number("price"), words, 2), _wait(fate.number("latency_ms"))),
    )


def _number(value: float | None, words: Words, digits: int = 4) -> str:
    return words("absent") if value is None else fixed(value, digits)


def _shape(monotonic: object, words: Words) -> str:
    return "" if monotonic is None else words(f"funnel.shape.{'yes' if monotonic else 'no'}")


def _wait(latency_ms: float | None) -> str:
    return f"{latency_ms:g} ms" if latency_ms else ""


def _known(stage: str, words: Words) -> bool:
    return f"funnel.about.{stage}" in words
