"""What the page says first: one honest sentence, four figures, and the references that flatter least."""

from __future__ import annotations

from dataclasses import dataclass

from leanrisk.report.comparison import SERVED, stays
from leanrisk.report.facts import Estimate, Facts
from leanrisk.report.fidelity import student
from leanrisk.report.numbers import counted, fixed, measured, percent, relative, signed, signed_percent
from leanrisk.report.quality import Reading, headline_metrics, reading
from leanrisk.report.spending import REFERENCES
from leanrisk.report.words import Words, capitalised

_UNITS = {"cost": "s", "latency": "ms"}


@dataclass(frozen=True)
class Card:
    """One figure of the headline: before, after, the change, what it is against, and the stricter comparisons."""

    label: str
    before: str
    after: str
    change: str
    against: str
    others: tuple[tuple[str, str], ...] = ()
    kind: str = "plain"


@dataclass(frozen=True)
class Headline:
    """The sentence, the remarks that keep it honest, and the cards."""

    sentence: str
    remarks: tuple[str, ...]
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class _Saving:
    """A cost of the incumbent (in one of several ways) against the lean model's."""

    reference: str
    before: float
    after: float

    @property
    def change(self) -> float:
        return relative(self.before, self.after) or 0.0


def headline(run: Facts, words: Words) -> Headline:
    """Return the headline of a run; whatever is missing is named as not measured."""
    same = stays(run)
    training, latency = _training(run), [] if same else _latency(run)
    clauses = (
        _cost_clause("cost", training, words, "reference"),
        _cost_clause("latency", latency, words, "served_short"),
        _quality_clause(run, words),
    )
    sentence = words("headline.sentence", cost=clauses[0], latency=clauses[1], quality=clauses[2])
    if same:
        sentence = words("headline.stays")
    cards = [
        _cost_card("cost", training, words, "reference_short")
        or _half_card("cost", run.number("incumbent", "train", "cpu_s"), run.number("lean", "refresh", "cpu_s"), words),
        _cost_card("latency", latency, words, "served_short")
        or _half_card(
            "latency",
            run.number("incumbent", "latency_ms", "p50"),
            run.number("lean", "latency_ms", "p50"),
            words,
            change=words("reading.same" if same else "absent"),
        ),
        *(_quality_card(run, metric, words) for metric in headline_metrics(run)[:1]),
        _feature_card(run, words),
    ]
    made = student(run, words)
    remarks = [
        *([] if made is None else [words("headline.student", student=made)]),
        *([] if same else _shortfalls(run, words)),
        *_decisions(run, words),
    ]
    return Headline(capitalised(sentence), tuple(remarks), tuple(cards))


def _training(run: Facts) -> list[_Saving]:
    after = run.number("lean", "refresh", "cpu_s")
    return [
        _Saving(name, before, after)
        for name, path in REFERENCES.items()
        if after is not None and (before := run.number(*path, "cpu_s"))
    ]


def _latency(run: Facts) -> list[_Saving]:
    after = run.number("lean", "latency_ms", "p50")
    return [
        _Saving(name, before, after)
        for name, key in SERVED.items()
        if after is not None and (before := run.number("incumbent", key, "p50"))
    ]


def _cost_clause(name: str, savings: list[_Saving], words: Words, names: str) -> str:
    if not savings:
        return words(f"headline.{name}_absent")
    first = savings[0]
    side = "same" if abs(first.change) < 0.0005 else "less" if first.change < 0 else "more"
    reference = words(f"{names}.{first.reference}")
    return words(f"headline.{name}_{side}", change=percent(abs(first.change)), reference=reference)


def _quality_clause(run: Facts, words: Words) -> str:
    found: dict[Reading, list[str]] = {}
    for metric in headline_metrics(run):
        difference = run.estimate("differences", metric)
        verdict = reading(metric, difference)
        label = words.named("metric", metric)
        if difference is not None and verdict in (Reading.BETTER, Reading.WORSE, Reading.DIFFERENT):
            label = words("headline.by", metric=label, amount=fixed(abs(difference.value), 3))
        found.setdefault(verdict, []).append(label)
    if not found:
        return words("headline.quality_absent", metrics=words("quality"))
    order = (Reading.WORSE, Reading.BETTER, Reading.DIFFERENT, Reading.NO_DIFFERENCE, Reading.ABSENT)
    findings = [
        words(f"headline.{verdict.value}", metrics=words("and").join(found[verdict]))
        for verdict in order
        if verdict in found
    ]
    return words("headline.quality", findings=words("headline.findings_joint").join(findings))


def _shortfalls(run: Facts, words: Words) -> list[str]:
    """Say which references are not beaten, and what an interval that includes zero rules out."""
    remarks = []
    dearer = [
        *(_cost_clause("cost", [each], words, "reference") for each in _training(run) if each.change > 0),
        *(_cost_clause("latency", [each], words, "served_short") for each in _latency(run) if each.change > 0),
    ]
    if dearer:
        remarks.append(words("headline.not_beaten", references=words("semicolon").join(dearer)))
    for metric in headline_metrics(run):
        difference = run.estimate("differences", metric)
        if reading(metric, difference) is Reading.NO_DIFFERENCE and difference is not None:
            remarks.append(_ruled_out(metric, difference, words))
    return remarks


def _decisions(run: Facts, words: Words) -> list[str]:
    """Say how the gates ended and which steps stayed."""
    remarks = []
    verdicts = [row.text("verdict") or "" for row in run.items("gates")]
    if verdicts:
        counts = [f"{verdicts.count(verdict)} {words.named('verdict', verdict)}" for verdict in dict.fromkeys(verdicts)]
        remarks.append(words("headline.gates", counts=words("comma").join(counts)))
    else:
        remarks.append(words("headline.gates_absent"))
    steps = run.items("steps")
    for key, wanted in (("kept", True), ("dropped", False)):
        names = [
            words.named("technique", step.text("technique") or "")
            for step in steps
            if bool(step.at("accepted")) is wanted
        ]
        if names:
            remarks.append(words(f"headline.{key}", names=words("comma").join(names)))
    return remarks


def _ruled_out(metric: str, difference: Estimate, words: Words) -> str:
    lo, hi = signed(difference.lo or 0.0), signed(difference.hi or 0.0)
    return words("headline.ruled_out", metric=capitalised(words.named("metric", metric)), lo=lo, hi=hi)


def _cost_card(name: str, savings: list[_Saving], words: Words, names: str) -> Card | None:
    if not savings:
        return None
    first, *rest = savings
    before, after = measured([first.before, first.after], _UNITS[name])
    return Card(
        words(f"card.{name}"),
        before,
        after,
        signed_percent(first.change),
        words("card.against", reference=words(f"{names}.{first.reference}")),
        tuple(
            (
                words("card.other", change=signed_percent(each.change), reference=words(f"{names}.{each.reference}")),
                "better" if each.change < 0 else "worse",
            )
            for each in rest
        ),
        "better" if first.change < 0 else "worse",
    )


def _half_card(name: str, before: float | None, after: float | None, words: Words, *, change: str = "") -> Card:
    """Return the card of a cost that one side or both lack, or that is one model's: what there is, and no change."""
    shown = [words("absent") if each is None else measured([each], _UNITS[name])[0] for each in (before, after)]
    return Card(words(f"card.{name}"), shown[0], shown[1], change or words("absent"), "", kind="absent")


def _quality_card(run: Facts, metric: str, words: Words) -> Card:
    before, after = (run.estimate(side, "quality", metric) for side in ("incumbent", "lean"))
    difference = run.estimate("differences", metric)
    verdict = reading(metric, difference)
    shown = [words("absent") if each is None else fixed(each.value, 3) for each in (before, after)]
    others: tuple[tuple[str, str], ...] = ()
    if stays(run):
        change = words("reading.same")
    elif difference is None or verdict is Reading.ABSENT or difference.lo is None or difference.hi is None:
        change, others = words("reading.absent"), ((words("compare.no_paired"), "plain"),)
    else:
        change = words("reading.no_difference") if verdict is Reading.NO_DIFFERENCE else signed(difference.value, 3)
        span = words("interval", lo=signed(difference.lo, 3), hi=signed(difference.hi, 3))
        others = ((words("card.paired", interval=span), "plain"),)
    label = capitalised(words("card.quality", metric=words.named("metric", metric)))
    return Card(label, shown[0], shown[1], change, words("card.on_test"), others, verdict.value)


def _feature_card(run: Facts, words: Words) -> Card:
    before, after = run.number("incumbent", "features"), run.number("lean", "features")
    share = None if before is None or after is None else relative(before, after)
    if share is None:
        shown = [words("absent") if each is None else counted(each) for each in (before, after)]
        return Card(words("card.features"), shown[0], shown[1], words("absent"), "", kind="absent")
    kind = "better" if share < 0 else "worse" if share > 0 else "plain"
    reference = words("card.against", reference=words("card.the_incumbent"))
    return Card(words("card.features"), counted(before), counted(after), signed_percent(share), reference, (), kind)
