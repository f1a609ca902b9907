"""The main job: shrink, then refresh on the newest slice, then measure both models and write everything down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from leanrisk.core.dataset import Dataset
from leanrisk.core.files import replacing, write_json
from leanrisk.core.progress import Progress, Silent
from leanrisk.cost.rates import RateCard
from leanrisk.pipelines.conclusion import concluded
from leanrisk.pipelines.contender import contender
from leanrisk.pipelines.evidence import run_evidence, score_table
from leanrisk.pipelines.final import final
from leanrisk.pipelines.job import BUNDLE, Job
from leanrisk.pipelines.newest_round import refreshed
from leanrisk.pipelines.packing import pack
from leanrisk.pipelines.publishing import published
from leanrisk.pipelines.recipe import Recipe
from leanrisk.pipelines.result import run_result
from leanrisk.pipelines.shrink import shrunk
from leanrisk.pipelines.teachers import plugged
from leanrisk.report.page import write_report
from leanrisk.techniques.graph_model import GraphModel

_SILENT = Silent()


def run_recipe(
    dataset: Dataset,
    recipe: Recipe,
    *,
    out: Path | str,
    seed: int = 0,
    name: str = "",
    preset: str = "standard",
    resume: bool = False,
    progress: Progress = _SILENT,
    teachers: Mapping[str, Any] | Sequence[Any] = (),
) -> dict[str, Any]:
    """Return the content of result.json after the whole job on `dataset`.

    Writes into `out`: result.json, evidence.json, report.html, report.zh.html, scores.parquet (test rows) and, where
    the gates let a lean model through, bundle/; an earlier run's stand there until all of them are complete. Finished
    steps are kept in `out/work`; with `resume` they are taken up. `teachers` as in `shrink`; they teach in the round
    that follows as well.
    """
    others = plugged(teachers)
    job = Job.open(
        dataset,
        recipe,
        out=out,
        seed=seed,
        resume=resume,
        progress=progress,
        teachers=tuple(other.identity for other in others),
    )
    rates = RateCard.default() if recipe.rates is None else RateCard.read(recipe.rates)
    beaten = replace(contender(job), others=others)
    champion = shrunk(job, beaten)
    round_ = refreshed(job, beaten, champion)
    end = concluded(job, beaten, round_)
    found = final(job, beaten, end.candidate)
    result = run_result(job, beaten, champion, round_, end, found, rates, name=name)
    result["preset"] = preset
    evidence = run_evidence(job, found, end.candidate, rates)
    # How the deployed model follows the incumbent on the test part; each taught step says it of its own student.
    result["fidelity"] = evidence["fidelity"]
    with published(job) as folder:
        if isinstance(end.candidate.model, GraphModel):
            card = {"quality": result["lean"]["quality"], "gates": result["gates"], "created": result["created"]}
            # A round that was refused has taught the champion nothing: the newest rows are still news to it.
            taught = job.parts.train if round_.accepted else champion.older
            pack(job, beaten, end.candidate, taught=taught, folder=folder / BUNDLE, card=card)
        with replacing(folder / "scores.parquet") as part:
            score_table(found).write_parquet(part)
        write_json(folder / "evidence.json", evidence)
        write_json(folder / "result.json", result)
        write_report(folder)
        write_report(folder, out=folder / "report.zh.html", language="zh")
    return result
