"""All readers that are fuzzed, by name; of what probes and separation keep see `kept_readers`."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Callable, Dict

import sound_files as sound
import torch
from fuzzed_reader import Reader
from kept_readers import KEPT_READERS

from mert_fairseq.checkpoints import check_resumable, codebook_sizes, read_checkpoint
from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.part_files import remove_abandoned
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.export.feature_files import FeatureFolder
from mert_fairseq.export.imported import import_weights
from mert_fairseq.probe.foreign_encoders import load_transformers
from mert_fairseq.probe.results import read_results
from mert_fairseq.report.run_log import read_run_config, read_run_log
from mert_fairseq.teachers.cluster_teacher import KMEANS, load_cluster_teacher
from mert_fairseq.teachers.label_files import LabelFiles
from mert_fairseq.teachers.store_check import check_store

MOST_ROWS = 50  # of a manifest, looked at one by one


def _manifest(folder: Path) -> None:
    manifest = read_manifest(folder / "train.tsv")
    for row in range(min(len(manifest), MOST_ROWS)):
        manifest.path(row)
    assert manifest.hours > 0 and manifest.rows_hash() and (manifest.num_samples > 0).all()


def _store(folder: Path, name: str, kind: str) -> None:
    manifest = read_manifest(folder / "train.tsv")
    check_store(folder / f"train.{name}", manifest, workers=1)
    store = TargetStore(folder / f"train.{name}", manifest, kind, 75.0)
    for row in range(len(manifest)):
        store.read(row, 0, int(store.num_frames[row]))
    for _ in store.blocks(7):
        pass


def _checkpoint(folder: Path) -> None:
    path = str(folder / "given.pt")
    state = read_checkpoint(path)
    codebook_sizes(state)
    _refused(check_resumable, path, torch.nn.Linear(2, 2), {"task": {"data": ""}})
    import_weights(path)


def _refused(call: Callable, *arguments) -> None:
    """What follows is to be read as well."""
    try:
        call(*arguments)
    except MertError:
        return


def _pickle(folder: Path) -> None:
    (folder / "given.pt").write_bytes(sound.with_pickle((folder / "data.pkl").read_bytes()))
    _checkpoint(folder)


def _folder(folder: Path) -> None:
    import_weights(str(folder))


def _foreign(folder: Path) -> None:
    load_transformers(folder, torch.device("cpu"))


def _features(folder: Path) -> None:
    os.utime(folder / "song.wav", ns=(0, 0))
    FeatureFolder(folder, sound.FEATURES).missing({"song.wav": folder / "song.wav"})


def _part_names(folder: Path) -> None:
    """The fuzzed bytes are the names of files, one a line."""
    for name in (folder / "names").read_bytes().split(b"\n")[:20]:
        name = name.replace(b"/", b"").replace(b"\0", b"")[:200]
        if name.strip(b"."):
            Path(bytes(folder / "parts" / "x")[:-1].decode() + name.decode("utf-8", "surrogateescape")).touch()
    remove_abandoned(folder / "parts", "**/.*.part")


def _teacher(folder: Path) -> None:
    load_cluster_teacher(str(folder), KMEANS)


def _labels(folder: Path, label: str) -> None:
    manifest = read_manifest(folder / "train.tsv")
    labels = LabelFiles(folder, "train", [label], manifest)
    for _ in labels.rows(0, len(manifest)):
        pass


def _run(folder: Path) -> None:
    log = read_run_log(folder)
    assert log.curve("loss", "train") and log.num_codebooks >= 0 and log.last_update >= 0
    read_run_config(folder)


def _published() -> sound.Files:
    """An exported folder as others publish theirs: nothing of this package in its config.json."""
    config = json.loads(sound.exported()["config.json"])
    del config["mert"]
    return sound.exported() | {"config.json": json.dumps(config).encode()}


def _names() -> sound.Files:
    return {"parts/.keep": b"", "names": b".a.npy.host.123.part\n.b.npy..part\n.part\n.x.y.1.part\n"}


_STORE = partial(Reader, sound.corpus)
READERS: Dict[str, Reader] = {
    "manifest": Reader(lambda: {"train.tsv": sound.corpus()["train.tsv"]}, "train.tsv", _manifest),
    "manifest_json": Reader(sound.corpus, "train.json", _manifest),
    "shard_json": _STORE("train.codes/shard-00000-of-00001.json", partial(_store, name="codes", kind="codes")),
    "shard_codes": _STORE("train.codes/shard-00000-of-00001.npy", partial(_store, name="codes", kind="codes")),
    "shard_cqt": _STORE("train.cqt/shard-00000-of-00001.npy", partial(_store, name="cqt", kind="cqt")),
    "shard_bytes_json": _STORE("train.bytes/shard-00000-of-00001.json", partial(_store, name="bytes", kind="cqt")),
    "checkpoint": Reader(lambda: {"given.pt": sound.checkpoint()}, "given.pt", _checkpoint),
    "checkpoint_older": Reader(lambda: {"given.pt": sound.checkpoint(older_form=True)}, "given.pt", _checkpoint),
    "checkpoint_pickle": Reader(lambda: {"data.pkl": sound.checkpoint_pickle()}, "data.pkl", _pickle),
    "exported_config": Reader(sound.exported, "config.json", _folder),
    "published_config": Reader(_published, "config.json", _folder),
    "foreign_config": Reader(_published, "config.json", _foreign),
    "exported_weights": Reader(sound.exported, "model.safetensors", _folder),
    "features_json": Reader(sound.features, "features.json", _features),
    "features_sources": Reader(sound.features, "sources.jsonl", _features),
    "part_names": Reader(_names, "names", _part_names),
    "teacher_json": Reader(sound.teacher, "config.json", _teacher),
    "label_text": Reader(lambda: sound.corpus() | sound.labels(), "train.km", partial(_labels, label="km")),
    "label_dictionary": Reader(lambda: sound.corpus() | sound.labels(), "dict.km.txt", partial(_labels, label="km")),
    "label_array": Reader(lambda: sound.corpus() | sound.labels(), "train.flat.npy", partial(_labels, label="flat")),
    "run_log": Reader(sound.run, "hydra_train.log", _run),
    "run_config": Reader(sound.run, ".hydra/config.yaml", _run),
    "probe_results": Reader(sound.results, "results.json", read_results),
    **KEPT_READERS,
}
