"""Files with random bytes changed: refused or counted, or read as their format promises; through everything that reads audio."""

import logging
import os

import numpy as np
import pytest
import soundfile
from damaged_audio import FORMATS, corrupt, judge, one_line, window_fault
from outcomes import mert
from training_runs import CODEBOOK_SIZE, NUM_CODEBOOKS, energy_codes

from mert_fairseq.data.audio import AudioError, read_audio
from mert_fairseq.data.crop_settings import CropSettings
from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.mert_dataset import MERTDataset
from mert_fairseq.data.scan import scan
from mert_fairseq.data.target_store import TargetStore, store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.frames import CONV_LAYERS, SAMPLE_RATE, num_code_frames
from mert_fairseq.teachers.labeller import Labeller
from mert_fairseq.teachers.labelling import write_labels
from mert_fairseq.teachers.shard_dump import DamagedFiles

SHORT, LONG = 25, 200  # mutations of each format


@pytest.fixture(scope="module", params=FORMATS)
def damaged(request, recordings, faults, tmp_path_factory):
    """(the whole recording, folder of damaged ones under the names 000 ...)."""
    whole, folder = recordings[request.param], tmp_path_factory.mktemp(request.param)
    for number in range(faults.times(SHORT, LONG)):
        rng = np.random.default_rng([FORMATS.index(request.param), number])
        (folder / f"{number:03d}.{whole.suffix}").write_bytes(corrupt(whole.text, rng))
    return whole, folder


@pytest.fixture(scope="module")
def labelled(damaged, tmp_path_factory):
    """Codes of the whole recording for every damaged file: targets that were made before the damage."""
    whole, folder = damaged
    place = tmp_path_factory.mktemp("labelled")
    write_manifest(place / "train.tsv", folder, [(path.name, len(whole.wave)) for path in sorted(folder.iterdir())])
    manifest = read_manifest(place / "train.tsv")
    store = store_folder(str(place), "train", "codes")
    codes = energy_codes(whole.wave)
    labeller = Labeller("codes", "energy", NUM_CODEBOOKS, lambda waves: (codes for _ in waves), [CODEBOOK_SIZE] * NUM_CODEBOOKS)
    (place / "whole").mkdir()
    for path in folder.iterdir():
        (place / "whole" / path.name).write_bytes(whole.text)
    write_manifest(place / "whole.tsv", place / "whole", [(path.name, len(whole.wave)) for path in sorted(folder.iterdir())])
    write_labels(read_manifest(place / "whole.tsv"), store, labeller, 1, [0])
    return manifest, TargetStore(store, manifest, "codes", 75.0)


def test_windows_as_training_reads_them(damaged, faults):
    whole, folder = damaged
    for path in sorted(folder.iterdir()):
        faults.record(f"audio: bytes of {whole.suffix} changed, reader", *judge(path, whole, np.random.default_rng(1)))


def test_the_training_dataset(damaged, labelled, faults, caplog):
    """A tolerated file gives no item and is listed; without tolerance training stops with its name."""
    whole, _ = damaged
    manifest, store = labelled
    crop = CropSettings(max_samples=36_000, min_samples=36_000)
    dataset = MERTDataset(manifest, [store], None, crop, CONV_LAYERS, max_bad_files=len(manifest))
    strict = MERTDataset(manifest, [store], None, crop, CONV_LAYERS)
    for index in range(len(dataset)):
        row, start, length = dataset.place_of(index)
        item, outcome, detail = dataset[index], "survived", ""
        if item is not None:
            detail = window_fault(item["wave"].numpy(), whole, start, length)
            outcome = "silent" if detail else "survived"
        elif manifest.relative_path(row) in dataset.bad_files:
            with pytest.raises(MertError, match="damaged files are allowed") as caught:
                strict[index]
            outcome = "refused" if one_line(str(caught.value), manifest.path(row)) else "silent"
        else:
            outcome = "silent"
        faults.record(f"audio: bytes of {whole.suffix} changed, training", outcome, detail)


def test_the_manifest(damaged, faults, tmp_path):
    """What is listed can be read to its end in windows; what is not is in the report."""
    whole, folder = damaged
    (tmp_path / "music").mkdir()
    for number in range(12):  # so that both splits have some
        (tmp_path / "music" / f"whole{number}.{whole.suffix}").write_bytes(whole.text)
    for path in folder.iterdir():
        os.link(path, tmp_path / "music" / path.name)
    report = scan(tmp_path / "music", tmp_path, valid_percent=50, workers=1)
    rows = [line.split("\t") for line in report.report_path.read_text().splitlines()[1:]]
    rejected = {name: (reason, detail) for name, reason, detail in rows}
    lengths = {}
    for split in ("train", "valid"):
        manifest = read_manifest(tmp_path / f"{split}.tsv")
        lengths |= {manifest.relative_path(row): int(manifest.num_samples[row]) for row in range(len(manifest))}
    assert report.num_files == len(rejected) + len(lengths) == len(list(folder.iterdir())) + 12
    for path in sorted(folder.iterdir()):
        if path.name in rejected:
            outcome, detail = "refused" if all(rejected[path.name]) else "silent", str(rejected[path.name])
        else:
            outcome, detail = _consistent(path, lengths[path.name], whole)
        faults.record(f"audio: bytes of {whole.suffix} changed, manifest", outcome, detail)


def _consistent(path, length, whole):
    """Whether a file that was taken has that length, reads in windows as it does at once, and equals the whole where a checksum says so."""
    try:
        wave = read_audio(path)
        starts = [start for start in (0, 320 * (length // 640), (length - 36_000) // 320 * 320) if start + 36_000 <= length]
        windows = [read_audio(path, start, 36_000, length) for start in starts]
    except AudioError as error:
        return "silent", str(error)
    if len(wave) != length or not windows:
        return "silent", f"{len(wave)} samples, its row says {length}"
    worst = max(np.abs(window - wave[start : start + 36_000]).max() for start, window in zip(starts, windows))
    # What no checksum of a FLAC covers is its header: another sample rate there is the file's.
    checked = whole.suffix == "ogg" or (whole.suffix == "flac" and soundfile.info(path).samplerate == SAMPLE_RATE)
    other = checked and not np.array_equal(wave, whole.wave)
    return ("silent", f"windows differ by {worst}, other than the whole: {other}") if worst > 1e-4 or other else ("survived", "")


def test_labels(damaged, labelled, faults, tmp_path, caplog):
    """A refused file is an empty row with a note where that is allowed; the dump fails with its name where not."""
    whole, _ = damaged
    manifest, _ = labelled
    labeller = Labeller("codes", "energy", NUM_CODEBOOKS, lambda waves: (_codes(wave) for wave in waves), [CODEBOOK_SIZE] * NUM_CODEBOOKS)
    write_labels(manifest, tmp_path / "train.codes", labeller, 1, [0], allow_bad=len(manifest))
    store = TargetStore(tmp_path / "train.codes", manifest, "codes", 75.0)
    noted = {str(record.getMessage()) for record in caplog.records if record.levelno == logging.WARNING}
    for row in range(len(manifest)):
        frames = int(store.num_frames[row])
        if frames == 0:
            outcome, detail = "refused" if any(str(manifest.path(row)) in note for note in noted) else "silent", "no note"
        else:
            wave = read_audio(manifest.path(row))
            same = frames == num_code_frames(len(whole.wave)) and np.array_equal(store.read(row, 0, frames), energy_codes(wave))
            other = whole.suffix in ("flac", "ogg") and not np.array_equal(wave, whole.wave)
            outcome, detail = "survived" if same and not other else "silent", f"{frames} frames, other than the whole: {other}"
        faults.record(f"audio: bytes of {whole.suffix} changed, labels", outcome, detail)
    if (store.num_frames == 0).any():
        with pytest.raises(DamagedFiles):
            write_labels(manifest, tmp_path / "strict", labeller, 1, [0])
        assert not list((tmp_path / "strict").glob("*.npy"))


def _codes(wave):
    return energy_codes(wave) if len(wave) else np.zeros((0, NUM_CODEBOOKS), np.int64)


def test_features(damaged, checkpoint, faults, tmp_path):
    """Every file gives finite features or is named, and the exit code says whether all did."""
    whole, folder = damaged
    shown = mert("features", checkpoint, folder, "--out", tmp_path / "out", "--window", 6, "--pool", "frames", "--layer", 1)
    refusals = [line for line in shown.text.splitlines() if line.startswith("mert: ")]
    files = sorted(folder.iterdir())
    for path in files:
        made = tmp_path / "out" / f"{path.name}.npy"
        if made.exists():
            features = np.load(made)
            outcome = "survived" if np.isfinite(features).all() and features.shape[1] == 32 and len(features) > 0 else "silent"
        else:
            outcome = "refused" if any(str(path) in line for line in refusals) else "silent"
        outcome = "traceback" if shown.outcome == "traceback" else outcome
        faults.record(f"audio: bytes of {whole.suffix} changed, features", outcome, shown.text)
    assert shown.code == int(len(list((tmp_path / "out").glob("*.npy"))) < len(files))
