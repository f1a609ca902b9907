"""ResNet-50 teaches MobileNetV2 on pictures of cash flows; beside them what reads the same series without pictures."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.distilled.image_controls import conv_scores, tree_scores
from benchmarks.distilled.image_timing import timings
from benchmarks.runner import Bar, Outcome
from leanrisk.core.metrics import auc
from leanrisk.core.progress import Progress
from leanrisk.core.seeding import generator
from leanrisk.cost.meter import Meter
from leanrisk.data.simulate.cash_flows import CashFlows, simulate_cash_flows
from leanrisk.evaluate.delong import auc_interval
from leanrisk.evaluate.fidelity import fidelity
from leanrisk.evaluate.intervals import wilson
from leanrisk.features.angular_field import field_images
from leanrisk.models.image.check import ImageShape
from leanrisk.models.image.distillation import ImageConfig, distill_image
from leanrisk.models.image.graph import image_graph
from leanrisk.models.image.network import RESNET_50, ImageBody
from leanrisk.models.image.scoring import ImageModel
from leanrisk.models.image.teacher import ImageTeacherConfig, new_image_teacher, taught_image_teacher
from leanrisk.models.pair_config import PairConfig

Values = dict[str, float | int | str]
Scores = npt.NDArray[np.float64]

_RESAMPLES = 1000
_DECLINED = 0.5
"""Half of the firms are bad by design, so the cut-off at which fidelity is told declines half."""


@dataclass(frozen=True)
class Effort:
    """How much one preset spends: rows to teach, to hold out and to test, and the two bodies with their trainings."""

    rows: tuple[int, int, int]
    size: int
    teacher: ImageTeacherConfig
    student: ImageConfig
    seeds: tuple[int, ...] = (0, 1, 2)
    calls: int = 60
    workers: int = 3
    large: int = 224
    book: int = field(default=11)


_FULL = Effort(
    rows=(3000, 500, 2000),
    size=64,
    teacher=ImageTeacherConfig(
        body=RESNET_50, training=PairConfig(epochs=4, batch=32, learning_rate=7e-4, weight_decay=0.02, precision="bf16")
    ),
    student=ImageConfig(training=PairConfig(epochs=4, batch=32, learning_rate=1.5e-3, weight_decay=0.02)),
)
_SMOKE = Effort(
    rows=(128, 64, 200),
    size=32,
    teacher=ImageTeacherConfig(
        body=ImageBody("resnet", width=0.05, depths=(1, 1, 1, 1)), training=PairConfig(epochs=2, batch=32)
    ),
    student=ImageConfig(body=ImageBody(width=0.1), training=PairConfig(epochs=2, batch=32)),
    seeds=(0,),
    calls=10,
    workers=1,
    large=48,
)


def run(preset: str, progress: Progress) -> Outcome:
    """Return accuracy, AUC, microseconds, bytes and CPU-seconds of the pair and of the controls, and the bars."""
    effort = _FULL if preset == "full" else _SMOKE
    taught_rows, held, _ = effort.rows
    flows = simulate_cash_flows(rows=sum(effort.rows), seed=effort.book)
    with Meter() as meter, progress.track("drawing the series"):
        images = pictures(flows, effort.size)
    figures = _book(flows, effort) | {"drawing_us": round(1e6 * meter.cost.cpu_s / len(images), 1)}
    parts = np.split(np.arange(len(images)), [taught_rows, taught_rows + held])
    bad = flows.bad.astype(np.int64)
    truth = bad[parts[2]]
    teacher, scored, students = _trained(images, bad, parts, effort, progress)
    figures |= {f"teacher_{name}": value for name, value in (_quality(truth, scored) | teacher.told).items()}
    tested_images = images[parts[2]]
    taught = [_answered(student, tested_images) for student in students[True]]
    alone = [_answered(student, tested_images) for student in students[False]]
    figures |= _several("student", truth, taught, students[True])
    figures |= _several("without_teacher", truth, alone, students[False])
    figures |= _kept(truth, scored, taught, alone)
    with progress.track("controls without pictures"):
        figures |= _controls(flows, parts, truth, effort)
    with progress.track("timing"):
        figures |= timings(teacher.graph, students[True][0].model.graph, tested_images, effort.calls)
        figures |= _large(effort)
    figures["load_1m"] = round(os.getloadavg()[0], 2)
    return Outcome(figures, _bars(figures))


def pictures(flows: CashFlows, size: int) -> npt.NDArray[np.uint8]:
    """Return what a picture shows: the balance as sums and as differences of angles, and the inflow as sums."""
    return field_images([flows.balance, flows.balance, flows.inflow], ["sum", "difference", "sum"], size=size)


def _book(flows: CashFlows, effort: Effort) -> Values:
    return {
        "rows_taught": effort.rows[0],
        "rows_tested": effort.rows[2],
        "size_px": effort.size,
        "seeds": len(effort.seeds),
        "bad_share": round(float(flows.bad.mean()), 4),
        "best_possible_accuracy": round(flows.bayes_accuracy, 4),
        "best_possible_auc": round(auc(flows.bad, flows.chance), 4),
    }


@dataclass(frozen=True)
class _Trained:
    """A scoring model, and what is to be told of its making."""

    model: ImageModel
    told: Values

    @property
    def graph(self) -> bytes:
        return self.model.graph


def _trained(
    images: npt.NDArray[np.uint8],
    bad: npt.NDArray[np.int64],
    parts: Sequence[npt.NDArray[np.intp]],
    effort: Effort,
    progress: Progress,
) -> tuple[_Trained, Scores, Mapping[bool, list[_Trained]]]:
    """Return the teacher, its scores of the tested rows, and for each seed a student with it (True) and without.

    Each is trained in a process of its own, whose CPU-seconds are its own; those without a teacher do not wait for it.
    """
    taught, held, tested = parts
    lesson, judged = (images[taught], bad[taught].tolist()), (images[held], bad[held].tolist())
    # Fresh interpreters: a copy of one that has run torch's threads may wait for a lock that nobody holds.
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(effort.workers, mp_context=context) as pool,
        progress.track("teaching the teacher and the students", 1 + 2 * len(effort.seeds)) as advance,
    ):

        def ask(opinions: npt.NDArray[np.float32] | None) -> list[Future[_Trained]]:
            return [pool.submit(_one_student, *lesson, opinions, judged, effort.student, s) for s in effort.seeds]

        first = pool.submit(_one_teacher, lesson, judged, images[tested], effort)
        alone = ask(None)
        teacher, opinions, scored = first.result()
        advance(1)
        jobs = {True: ask(opinions), False: alone}
        students: dict[bool, list[_Trained]] = {}
        for with_teacher, asked in jobs.items():
            students[with_teacher] = []
            for each in asked:
                students[with_teacher].append(each.result())
                advance(1)
    return teacher, scored, students


def _one_teacher(
    lesson: tuple[npt.NDArray[np.uint8], list[int]],
    held_out: tuple[npt.NDArray[np.uint8], list[int]],
    tested: npt.NDArray[np.uint8],
    effort: Effort,
) -> tuple[_Trained, npt.NDArray[np.float32], Scores]:
    """Return the teacher, its opinions on the rows it taught from, and its scores of the tested ones, by its graph."""
    images, labels = lesson
    with Meter() as meter:
        teacher = taught_image_teacher(
            images,
            np.array(labels),
            held_out=(held_out[0], np.array(held_out[1])),
            labels=2,
            config=effort.teacher,
            seed=effort.seeds[0],
        )
    opinions = teacher.predict_proba(images)
    shape = ImageShape.of(images)
    model = ImageModel(image_graph(teacher.network, shape, spread=teacher.spread), shape, (0, 1))
    assert teacher.log is not None
    told: Values = {
        "parameters": teacher.parameters,
        "bytes": model.size_bytes,
        "train_cpu_s": round(meter.cost.cpu_s, 1),
        "best_epoch": teacher.log.best_epoch,
    }
    return _Trained(model, told), opinions, model.predict_proba(tested)[:, 1].astype(np.float64)


def _one_student(
    images: npt.NDArray[np.uint8],
    labels: list[int],
    opinions: npt.NDArray[np.float32] | None,
    held_out: tuple[npt.NDArray[np.uint8], list[int]],
    config: ImageConfig,
    seed: int,
) -> _Trained:
    with Meter() as meter:
        model = distill_image(images, labels, teacher=opinions, config=config, held_out=held_out, seed=seed)
    told: Values = {
        "parameters": model.facts["parameters"],
        "bytes": model.size_bytes,
        "train_cpu_s": round(meter.cost.cpu_s, 1),
        "best_epoch": model.facts["best_epoch"],
    }
    return _Trained(model, told)


def _answered(student: _Trained, images: npt.NDArray[np.uint8]) -> Scores:
    return student.model.predict_proba(images)[:, 1].astype(np.float64)


def _quality(truth: npt.NDArray[np.int64], scores: Scores) -> Values:
    right = wilson(float(_right(truth, scores).sum()), truth.size)
    ranked = auc_interval(truth, scores)
    return {
        "accuracy": round(right.value, 4),
        "accuracy_interval": f"[{right.lo:.4f}, {right.hi:.4f}]",
        "auc": round(ranked.value, 4),
        "auc_interval": f"[{ranked.lo:.4f}, {ranked.hi:.4f}]",
    }


def _right(truth: npt.NDArray[np.int64], scores: Scores) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = (scores > 0.5) == (truth == 1)
    return right


def _several(name: str, truth: npt.NDArray[np.int64], scores: Sequence[Scores], trained: Sequence[_Trained]) -> Values:
    """Return the quality of each seed, the mean over them, and the mean cost."""
    figures: Values = {}
    each = [_quality(truth, one) for one in scores]
    for seed, quality in enumerate(each):
        figures |= {f"{name}_{seed}_{key}": value for key, value in quality.items()}
    for key in ("accuracy", "auc"):
        figures[f"{name}_{key}"] = round(float(np.mean([float(quality[key]) for quality in each])), 4)
    figures |= {f"{name}_{key}": trained[0].told[key] for key in ("parameters", "bytes")}
    cpu = np.mean([float(one.told["train_cpu_s"]) for one in trained])
    return figures | {f"{name}_train_cpu_s": round(float(cpu), 1)}


def _kept(truth: npt.NDArray[np.int64], teacher: Scores, taught: Sequence[Scores], alone: Sequence[Scores]) -> Values:
    """Return what the students keep of the teacher, all seeds together, resampled by firm; and the fidelity."""
    right = {
        "teacher": _right(truth, teacher).astype(float),
        "student": np.mean([_right(truth, scores) for scores in taught], axis=0),
        "alone": np.mean([_right(truth, scores) for scores in alone], axis=0),
    }
    rng = generator(0, "benchmark.images")
    means: dict[str, list[float]] = {name: [] for name in right}
    for _ in range(_RESAMPLES):
        drawn = rng.integers(0, truth.size, truth.size)
        for name, values in right.items():
            means[name].append(float(values[drawn].mean()))
    by_draw = {name: np.array(values) for name, values in means.items()}
    ratio = by_draw["student"] / by_draw["teacher"]
    gain = by_draw["student"] - by_draw["alone"]
    # Half of the firms are bad: whoever guesses is right for half of them, and a ratio flatters by that.
    beyond = (right["student"].mean() - 0.5) / (right["teacher"].mean() - 0.5)
    follows = fidelity(truth, teacher, taught[0], declined=_DECLINED)
    return {
        "accuracy_kept": round(float(right["student"].mean() / right["teacher"].mean()), 4),
        "accuracy_kept_interval": "[{:.4f}, {:.4f}]".format(*np.quantile(ratio, [0.025, 0.975])),
        "accuracy_beyond_guessing_kept": round(float(beyond), 4),
        "gain_from_teacher": round(float(right["student"].mean() - right["alone"].mean()), 4),
        "gain_from_teacher_interval": "[{:.4f}, {:.4f}]".format(*np.quantile(gain, [0.025, 0.975])),
        "rank_correlation": round(float(follows["rank_correlation"] or 0.0), 4),
        "agreement": round(follows["agreement"], 4),
        "swap_set": follows["swap_in"] + follows["swap_out"],
    }


def _controls(
    flows: CashFlows, parts: Sequence[npt.NDArray[np.intp]], truth: npt.NDArray[np.int64], effort: Effort
) -> Values:
    """Return what models without pictures make of the whole series, and of what a picture shows of them."""
    figures: Values = {}
    controls: dict[str, Callable[[], Scores]] = {
        "lightgbm": partial(tree_scores, flows, parts, pictured=False),
        "lightgbm_as_pictured": partial(tree_scores, flows, parts, pictured=True),
        "conv1d": partial(conv_scores, flows, parts, pictured=False, seed=effort.seeds[0]),
        "conv1d_as_pictured": partial(conv_scores, flows, parts, pictured=True, seed=effort.seeds[0]),
    }
    for name, scores in controls.items():
        with Meter() as meter:
            found = scores()
        quality = _quality(truth, found) | {"train_cpu_s": round(meter.cost.cpu_s, 1)}
        figures |= {f"{name}_{key}": value for key, value in quality.items()}
    return figures


def _large(effort: Effort) -> Values:
    """Return the timings of the pair at the size that such networks are mostly used at; nothing is trained there."""
    shape = ImageShape(3, effort.large, effort.large)
    teacher, student = (
        _blank_graph(replace(effort.teacher, body=body), shape) for body in (effort.teacher.body, effort.student.body)
    )
    draw = generator(0, "benchmark.images.large")
    images = draw.integers(0, 256, (4, 3, effort.large, effort.large), dtype=np.uint8)
    found = timings(teacher, student, images, max(4, effort.calls // 12), batch=4)
    return {f"at_{effort.large}_px_{name}": value for name, value in found.items()}


def _blank_graph(config: ImageTeacherConfig, shape: ImageShape) -> bytes:
    blank = new_image_teacher(shape, labels=2, config=config, seed=0)
    return image_graph(blank.network, shape, spread=blank.spread)


def _bars(figures: Values) -> tuple[Bar, ...]:
    return (
        Bar.at_least("student's accuracy over the teacher's, mean of the seeds", float(figures["accuracy_kept"]), 0.98),
        Bar.at_least("teacher's microseconds over the student's, one image", float(figures["times_faster"]), 5.0),
        Bar.at_least(
            "teacher's microseconds over the student's, in a batch", float(figures["times_faster_batch"]), 5.0
        ),
    )
