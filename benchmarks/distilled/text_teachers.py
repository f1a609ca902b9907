"""The dear text teachers of the benchmark: taught once, and kept where LEANRISK_TEACHERS names a folder."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safetensors.torch import load_file, save_file

from benchmarks.distilled.text_books import TextBook
from leanrisk.core.files import replacing_folder, write_json
from leanrisk.core.progress import Progress
from leanrisk.cost.meter import Meter
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.text.teacher import TeacherConfig, TextTeacher, new_teacher, taught_teacher
from leanrisk.models.text.tokenizer import TextTokenizer

_WEIGHTS, _TOKENS, _TOLD = "model.safetensors", "tokenizer.json", "told.json"
_TRAINING = PairConfig(epochs=3, batch=32, learning_rate=1e-4, warmup=0.1, precision="bf16", patience=3)


@dataclass(frozen=True)
class Dear:
    """A taught teacher, the CPU-seconds of its training, and its epochs."""

    teacher: TextTeacher
    cpu_s: float
    epochs: int


def from_scratch(book: TextBook, *, full: bool, progress: Progress) -> Dear:
    """Return BERT of base size, 109 M parameters, taught on the book's texts alone: no checkpoint is at hand."""
    if full:
        return _kept(book, TeacherConfig(longest=book.longest, training=_TRAINING), "bert-base", progress)
    small = TeacherConfig(longest=book.longest, width=64, depth=2, pieces=2000, training=_TRAINING)
    return _kept(book, small, "tiny", progress)


def from_folder(book: TextBook, folder: Path, *, progress: Progress) -> Dear:
    """Return a teacher that goes on from a pre-trained checkpoint in a local folder."""
    config = TeacherConfig(folder=str(folder), longest=book.longest, training=_TRAINING)
    return _kept(book, config, folder.name, progress)


def _kept(book: TextBook, config: TeacherConfig, name: str, progress: Progress) -> Dear:
    """Return the teacher kept in the folder of teachers; taught where it is not there, or there is no folder."""
    shelf = os.environ.get("LEANRISK_TEACHERS")
    key = json.dumps([asdict(config), book.train.texts, book.train.labels], sort_keys=True)
    place = Path(shelf) / f"{book.name}-{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}" if shelf else None
    if place is not None and (place / _TOLD).is_file():
        return _read(place, book, config)
    with Meter() as meter:
        teacher = taught_teacher(
            book.train.texts,
            book.codes(book.train),
            held_out=(book.valid.texts, book.codes(book.valid)),
            labels=len(book.classes),
            config=config,
            seed=0,
            progress=progress,
        )
    epochs = 0 if teacher.log is None else len(teacher.log.losses)
    found = Dear(teacher, meter.cost.cpu_s, epochs)
    if place is not None:
        with replacing_folder(place) as part:
            save_file(dict(teacher.network.state_dict()), part / _WEIGHTS)
            if isinstance(teacher.reader, TextTokenizer):
                (part / _TOKENS).write_text(teacher.reader.settings, encoding="utf-8")
            write_json(part / _TOLD, {"cpu_s": found.cpu_s, "epochs": found.epochs})
    return found


def _read(place: Path, book: TextBook, config: TeacherConfig) -> Dear:
    teacher = new_teacher(book.train.texts, labels=len(book.classes), config=config, seed=0)
    if (place / _TOKENS).is_file():
        settings = (place / _TOKENS).read_text(encoding="utf-8")
        teacher = replace(teacher, reader=TextTokenizer.loaded(settings, longest=config.longest))
    teacher.network.load_state_dict(load_file(place / _WEIGHTS))
    teacher.network.train(False)
    told = json.loads((place / _TOLD).read_text(encoding="utf-8"))
    return Dear(teacher, float(told["cpu_s"]), int(told["epochs"]))
