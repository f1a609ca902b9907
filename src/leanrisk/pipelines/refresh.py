"""`refresh`: the cheap training round. The champion learns the newest rows; gates decide whether it is replaced."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from leanrisk.core.config import configured
from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, OutputError
from leanrisk.core.files import replacing_folder, reserved_folder, write_json
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.version import __version__
from leanrisk.cost.ledger import Ledger
from leanrisk.data.maturity import outcome_wait
from leanrisk.evaluate.gates import GateConfig, GateResult, accepted, gained, judge
from leanrisk.graph.events import Events
from leanrisk.graph.history import merged_events
from leanrisk.graph.persist import locked
from leanrisk.graph.store import MemoryStore
from leanrisk.pipelines.champion import gate_settings, refresh_settings, trainable
from leanrisk.pipelines.checkpoint import Checkpoint
from leanrisk.pipelines.gpu_seconds import charge_gpu
from leanrisk.pipelines.job import BUNDLE, digest_of
from leanrisk.pipelines.new_rows import NewRows, joined, new_dataset, new_rows, newest_time, recalling, taught_digest
from leanrisk.pipelines.publishing import replace_bundle
from leanrisk.pipelines.reading import PHASE as TEXT
from leanrisk.pipelines.reading_anew import read_anew
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.replay import save_replay
from leanrisk.pipelines.round_teacher import PHASE, made_of, teacher_of_round
from leanrisk.registry.bundle import Bundle, check_replaceable, write_bundle
from leanrisk.registry.manifest import MEMORY
from leanrisk.techniques.base import Bench, Candidate, unmeasured
from leanrisk.techniques.graph_model import GraphModel, load_lean
from leanrisk.techniques.reteach import Reteach

_SILENT = Silent()
_WORK, _TAUGHT, _ASIDE = "work", "taught", "outcome"
_PHASES = (PHASE, "refresh: teach", TEXT)


def refresh(
    bundle: Path | str,
    data: Any,
    *,
    out: Path | str,
    config: RefreshConfig | None = None,
    gates: GateConfig | None = None,
    method: str | None = None,
    text: str | None = None,
    replay: Any = None,
    seed: int = 0,
    resume: bool = False,
    progress: Progress = _SILENT,
) -> tuple[Bundle, dict[str, Any]]:
    """Return the bundle that stays after a round on new rows, written to `out/bundle`, and the verdict.

    `data`: a file, table or `Dataset` of new rows; `replay`: older ones, in place of those that the bundle keeps. The
    newest 30 % of the new rows judge, the others teach. `config` and `gates` are the bundle's own where they are None;
    `method` and `text` replace those of `config`. A round that does not help leaves the champion's bundle unchanged and
    says so. `out/work` keeps the finished steps: with `resume`, a round that was cut goes on from there. Raises
    `DataError` for rows that the champion cannot learn from, `BundleError` for a bundle that cannot be taught,
    `ModelError` for one that cannot be taught this way, `ConfigError` for an unknown method, `OutputError` where the
    champion itself or something other than a bundle stands in its place, where `out` is a run's folder, or where
    another round is at work there; nothing is written then.
    """
    champion = Bundle.load(bundle)
    _check_apart(champion, Path(out))
    config, gates = config or refresh_settings(champion), gates or gate_settings(champion)
    if method is not None:
        teach = configured(Reteach, {"method": method}, where="refresh.teach", over=config.teach)
        config = replace(config, teach=teach)
    if text is not None:
        config = replace(config, text=text)
    model = trainable(champion, config)
    dataset, given, history = recalling(
        champion, new_dataset(champion, data), None if replay is None else new_dataset(champion, replay).labelled
    )
    rows = new_rows(champion, dataset, config, older=given, seed=seed)
    if resume and not (Path(out) / _WORK).is_dir():
        # Refuses, and makes no folder for a round that was never begun.
        _Round.open(champion, model, rows, dataset, history, config, gates, Path(out), seed, resume)
    with reserved_folder(out):
        round_ = _Round.open(champion, model, rows, dataset, history, config, gates, Path(out), seed, resume)
        return round_.carried_out(progress)


@dataclass(frozen=True)
class _Round:
    """One round: what goes in, and where its finished steps are."""

    champion: Bundle
    model: GraphModel
    rows: NewRows
    history: Events | None
    digests: tuple[str, str]
    config: RefreshConfig
    gates: GateConfig
    out: Path
    seed: int
    checkpoint: Checkpoint
    ledger: Ledger

    @classmethod
    def open(
        cls,
        champion: Bundle,
        model: GraphModel,
        rows: NewRows,
        dataset: Dataset,
        history: Events | None,
        config: RefreshConfig,
        gates: GateConfig,
        out: Path,
        seed: int,
        resume: bool,
    ) -> _Round:
        check_replaceable(out / BUNDLE)
        digest = digest_of(dataset.frame)
        identity = {
            "leanrisk": __version__,
            "champion": champion.digest,
            "data": digest,
            "replay": None if rows.older is None else digest_of(rows.older.frame),
            "memory": None if history is None else history.digest,
            "edges": _edges_of(champion),
            "config": asdict(config),
            "gates": asdict(gates),
            "seed": seed,
        }
        checkpoint = Checkpoint(out / _WORK, identity, resume=resume, kind="refresh")
        ledger = Ledger(checkpoint.folder / "ledger.jsonl")
        digests = digest, taught_digest(dataset)
        return cls(champion, model, rows, history, digests, config, gates, out, seed, checkpoint, ledger)

    def carried_out(self, progress: Progress) -> tuple[Bundle, dict[str, Any]]:
        """Return the bundle that stays, written, and the verdict."""
        lineage = tuple(self.champion.manifest.facts.get("lineage", ()))
        before = Candidate(self.model.features, self.model, lineage=lineage, texts=self.champion.texts)
        if self.config.text == "anew" and self.champion.texts.models:
            anew = read_anew(
                self.champion,
                self.rows,
                checkpoint=self.checkpoint,
                ledger=self.ledger,
                seed=self.seed,
                progress=progress,
            )
            newcomer = replace(self, rows=anew.rows)
            after = newcomer._taught(replace(before, texts=anew.texts), progress)
        else:
            newcomer, after = self, self._taught(before, progress)
        with progress.track("judging champion and newcomer", 1) as advance:
            kept, reason, results = verdict_on(
                before, after, self.rows.judge, self.gates, self.seed, read=newcomer.rows.judge
            )
            advance(1)
        verdict = self._verdict(after, kept, reason, results)
        stays = newcomer._put_in_place(after, verdict)
        write_json(self.out / "refresh.json", verdict)
        shutil.rmtree(self._frozen, ignore_errors=True)
        return stays, verdict

    @property
    def _frozen(self) -> Path:
        return self.checkpoint.folder / "frozen"

    def _taught(self, before: Candidate, progress: Progress) -> Candidate:
        facts = self.checkpoint.done(_TAUGHT)
        place = self.checkpoint.place(_TAUGHT)
        if facts is not None:
            return replace(before, model=load_lean(place), lineage=tuple(facts["lineage"]))
        teacher = teacher_of_round(
            self.champion, self.model, self.rows, checkpoint=self.checkpoint, ledger=self.ledger, seed=self.seed
        )
        with self.ledger.phase(_PHASES[1]) as phase:
            bench = Bench(
                train=self.rows.teach,
                valid=self.rows.judge,
                teacher=teacher,
                measure=unmeasured,
                seed=self.seed,
                progress=progress,
            )
            after = self.config.teach.apply(before, bench, older=self.rows.older, cache=self._frozen)
            charge_gpu(phase, after)
        if isinstance(after.model, GraphModel):
            after.model.save(place)
        self.checkpoint.finish(_TAUGHT, {"lineage": list(after.lineage)})
        return after

    def _verdict(self, after: Candidate, kept: bool, reason: str, results: tuple[GateResult, ...]) -> dict[str, Any]:
        return {
            "accepted": kept,
            "reason": reason,
            "rows": self.rows.rows,
            "judged": self.rows.judged,
            "left_out": self.rows.left_out,
            "replayed": 0 if self.rows.older is None else self.rows.older.rows,
            "drift": self.rows.drift,
            "made_rows": made_of(self.checkpoint),
            "tuning": after.model.tuning if isinstance(after.model, GraphModel) else None,
            "cost": asdict(self.ledger.cost(*_PHASES)),
            "gates": [gate.to_dict() for gate in results],
        }

    def _put_in_place(self, after: Candidate, verdict: Mapping[str, Any]) -> Bundle:
        """Return the bundle that stays, moved to its place when it is whole."""
        place, aside = self.out / BUNDLE, self.checkpoint.folder / _ASIDE
        # A round that was cut while it wrote has left half a bundle there.
        shutil.rmtree(aside, ignore_errors=True)
        made = aside / BUNDLE
        if verdict["accepted"]:
            self._written(after, made, verdict)
        else:
            _copied(self.champion, made)
        replace_bundle(self.out, made, aside=aside)
        shutil.rmtree(aside, ignore_errors=True)
        return Bundle.load(place)

    def _written(self, after: Candidate, folder: Path, verdict: Mapping[str, Any]) -> None:
        model = after.model
        if not isinstance(model, GraphModel):
            raise ConfigError("A refresh makes a lean model. Shrink the incumbent first.")
        past, seen = self.champion.manifest.facts, joined(self.rows.teach, self.rows.older)
        # Who set keep = 0 for a book, for privacy, meant its later rounds, too.
        keep = min(self.config.keep, past.get("keep", self.config.keep))
        waits = [wait for wait in (past.get("outcome_wait"), outcome_wait(seen)) if wait is not None]
        facts = {
            "data": self.digests[0],
            "seen": [*past.get("seen", ()), self.digests[1]],
            "seed": self.seed,
            "leanrisk": __version__,
            # Judges were not taught: a later file that holds them may teach them.
            "newest": newest_time(self.rows.teach),
            "outcome_wait": max(waits, default=None),
            "keep": keep,
            "lineage": list(after.lineage),
            "parent": self.champion.digest,
        }

        def training(place: Path) -> None:
            model.save(place)
            save_replay(place, seen, keep=keep, seed=self.seed)

        write_bundle(
            folder,
            graph=model.graph,
            encoder=model.scoring_encoder,
            schema=self.champion.schema,
            reference=self.champion.reference_rows(),
            card={"features": list(model.features), "taught": model.facts, "refresh": dict(verdict)},
            facts={**past, **facts},
            training=training,
            memory=self._memory(),
            texts=after.reading,
        )

    def _memory(self) -> MemoryStore | None:
        """Return the champion's memory with what the rows of this round tell, None where it has none."""
        if self.champion.memory is None or self.history is None:
            return None
        # Opened anew: what was absorbed while the round was at work must not be lost.
        store = MemoryStore.open(self.champion.folder / MEMORY)
        return MemoryStore.build(store.config, merged_events(self.history, store.history), store.edges)


def verdict_on(
    before: Candidate,
    after: Candidate,
    rows: Dataset,
    gates: GateConfig,
    seed: int,
    *,
    read: Dataset | None = None,
) -> tuple[bool, str, tuple[GateResult, ...]]:
    """Return whether `after` replaces `before`, why, and the gates that say so, judged on `rows`.

    Gates only ask that nothing is lost. A newcomer that passes them must also be better in AUC or in KS, by point
    estimate: a model that gains nothing is not worth a deployment. `read`: the same rows as the newcomer's own text
    models read them.
    """
    scores = before.model.predict(rows.frame), after.model.predict((read or rows).frame)
    results = judge(rows.labels, *scores, config=gates, seed=seed)
    kept, reason = accepted(results, gates)
    if not kept:
        return False, f"The champion stays: {reason}", results
    if not gained(results):
        return False, f"The champion stays: nothing was gained. {reason}", results
    return True, reason, results


def _edges_of(champion: Bundle) -> dict[str, str]:
    """Return the digest of each edge table that the champion's memory has absorbed by now."""
    store = champion.memory
    return {} if store is None else {name: edges.digest for name, edges in store.edges.items()}


def _check_apart(champion: Bundle, out: Path) -> None:
    """Raise `OutputError` where a round would write over its champion, into it, or over the steps that hold it."""
    folder, place = champion.folder.resolve(), (out / BUNDLE).resolve()
    if place.is_relative_to(folder) or folder.is_relative_to((out / _WORK).resolve()):
        raise OutputError(
            f"A round leaves its champion as it is: '{place}' is the champion's own place. Give another folder with "
            "--out, and deploy the bundle that it writes there."
        )


def _copied(champion: Bundle, folder: Path) -> None:
    memory = champion.folder / MEMORY
    # A batch that is being written must be whole in the copy, too.
    with replacing_folder(folder) as part, locked(memory) if memory.is_dir() else contextlib.nullcontext():
        shutil.copytree(champion.folder, part, dirs_exist_ok=True)
