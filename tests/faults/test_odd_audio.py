"""Files cut anywhere, empty, of one sample, with samples that are no numbers, and with headers that promise too much."""

import os

import numpy as np
import pytest
import soundfile
from damaged_audio import FORMATS, judge, make_wave, write
from outcomes import mert
from training_runs import CODEBOOK_SIZE, NUM_CODEBOOKS, energy_codes

from mert_fairseq.data.audio import AudioError, audio_info, read_audio
from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.native_audio import check_contents, open_audio
from mert_fairseq.data.scan import scan
from mert_fairseq.teachers.labeller import Labeller
from mert_fairseq.teachers.labelling import write_labels
from mert_fairseq.teachers.shard_dump import DamagedFiles

RATE = 24_000


@pytest.mark.parametrize("suffix", FORMATS)
def test_cut_anywhere(recordings, suffix, faults, tmp_path):
    """As training reads it, whose row has the whole length, and as the manifest does."""
    whole, path = recordings[suffix], tmp_path / f"cut.{suffix}"
    for part in np.linspace(0, 1, faults.times(8, 60), endpoint=False):
        path.write_bytes(whole.text[: int(part * len(whole.text))])
        faults.record(f"audio: {suffix} cut, reader", *judge(path, whole, np.random.default_rng(1)))
        with pytest.raises(AudioError):  # to its end no cut file can be read
            read_audio(path, length=len(whole.wave))


def _samples(value):
    wave = make_wave()
    wave[50_000] = value
    return wave


def odd_files(folder):
    """Name -> how it comes about."""
    wave = make_wave()
    made = {
        "nan.wav": _samples(np.nan), "inf.wav": _samples(np.inf), "minus_inf.wav": _samples(-np.inf),
        "all_nan.wav": np.full(90_000, np.nan),
        "none.wav": wave[:0], "one.wav": wave[:1], "one.flac": wave[:1], "one.ogg": wave[:1], "one.mp3": wave[:1], "silent.wav": 0 * wave,
        "short.wav": wave[:71_999], "constant.flac": np.full(90_000, 1e-5),
    }  # fmt: skip
    for name, samples in made.items():
        soundfile.write(folder / name, samples, RATE, subtype="FLOAT" if name.endswith(".wav") else None)
    texts = {"empty.wav": b"", "empty.mp3": b"", "text.flac": b"no audio " * 99, "zeros.ogg": bytes(5000)}
    texts["header.wav"] = b"RIFF\0\0\0\0WAVEfmt "
    for name, text in texts.items():
        (folder / name).write_bytes(text)
    soundfile.write(folder / "odd_rate.wav", wave, 44_101)
    _promise_too_much(folder, wave)
    (folder / "other.wav").mkdir()  # a folder named like audio is looked into, not read
    return sorted([*made, *texts, "odd_rate.wav", "many.mp3", "many.flac"])


def _promise_too_much(folder, wave):
    """Headers with the largest number of samples that they can hold."""
    soundfile.write(folder / "many.mp3", wave, RATE)
    text = bytearray((folder / "many.mp3").read_bytes())
    place = max(text.find(b"Xing"), text.find(b"Info"))
    text[place + 8 : place + 12] = b"\xff" * 4
    (folder / "many.mp3").write_bytes(text)
    soundfile.write(folder / "many.flac", wave, RATE)
    text = bytearray((folder / "many.flac").read_bytes())
    text[21] |= 0x0F
    text[22:26] = b"\xff" * 3 + b"\xfe"
    (folder / "many.flac").write_bytes(text)


@pytest.mark.parametrize("convert", [False, True])
def test_the_manifest_leaves_odd_files_out(faults, tmp_path, convert):
    """Each is in the report with its reason, none in a manifest, and good ones are kept."""
    music = tmp_path / "music"
    music.mkdir()
    names = odd_files(music)
    for number in range(6):
        soundfile.write(music / f"good{number}.wav", make_wave(), RATE)
    report = scan(music, tmp_path / "out", valid_percent=50, convert=tmp_path / "copies" if convert else None, workers=1)
    rows = [line.split("\t") for line in report.report_path.read_text().splitlines()[1:]]
    reasons = {name: reason for name, reason, _ in rows}
    for name in names:
        outcome = "refused" if reasons.get(name, "") not in ("", "clipped") else "silent"
        faults.record(f"audio: odd files, manifest{' --convert' * convert}", outcome, f"{name}: {reasons.get(name)}", name)
    assert sum(report.rows.values()) == 6 and report.num_files == 6 + len(names)


def test_labels_of_odd_files(faults, tmp_path):
    """A manifest of another program lists them all: every row is named."""
    names = odd_files(tmp_path)
    write_manifest(tmp_path / "train.tsv", tmp_path, [(name, 90_000) for name in names])
    manifest = read_manifest(tmp_path / "train.tsv")
    labeller = Labeller("codes", "energy", NUM_CODEBOOKS, lambda waves: map(_codes, waves), [CODEBOOK_SIZE] * NUM_CODEBOOKS)
    with pytest.raises(DamagedFiles) as caught:
        write_labels(manifest, tmp_path / "train.codes", labeller, 1, [0])
    for name in names:
        if name != "constant.flac":  # quiet, but whole
            faults.record("audio: odd files, labels", "refused" if caught.match(r"\d+ damaged files") else "silent", name)
    assert str(caught.value).startswith(f"{len(names) - 1} damaged files")


def _codes(wave):
    return energy_codes(wave) if len(wave) else np.zeros((0, NUM_CODEBOOKS), np.int64)


def test_features_of_odd_files(checkpoint, faults, tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    taken = {"silent.wav", "constant.flac", "short.wav"}  # quiet or short, and whole
    for name in odd_files(music):
        shown = mert("features", checkpoint, music / name, "--out", tmp_path / name)
        made = tmp_path / name / f"{name}.npy"
        if name in taken:
            outcome = "survived" if shown.code == 0 and np.isfinite(np.load(made)).all() else "silent"
        else:
            said = [line for line in shown.text.splitlines() if line.startswith("mert: ") and name in line]
            outcome = "refused" if shown.code == 1 and len(said) == 1 and not made.exists() else shown.outcome.replace("survived", "silent")
        faults.record("audio: odd files, features", outcome, shown.text)


def test_samples_that_are_no_numbers_stop_the_window_that_holds_them(faults, tmp_path):
    for number, value in enumerate((np.nan, np.inf, -np.inf)):
        for rate in (16_000, 24_000, 44_100):
            path = tmp_path / f"{number}_{rate}.wav"
            wave = np.tile(make_wave(), 2)[: rate * 5]
            wave[rate * 2] = value
            soundfile.write(path, wave, rate, subtype="FLOAT")
            with pytest.raises(AudioError) as caught:
                read_audio(path, 36_000, 24_000)
            faults.record("audio: NaN and Inf, reader", "refused" if caught.value.reason == "non_finite" else "silent")
            assert np.isfinite(read_audio(path, 0, 24_000)).all()


def test_a_file_that_cannot_be_read_or_is_no_file(faults, tmp_path):
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    for name in ("folder.wav", "pipe.wav", "loop.wav", "missing.wav", "x" * 300 + ".wav", "nul\0.wav"):
        for read in (audio_info, read_audio):
            with pytest.raises(AudioError) as caught:
                read(tmp_path / name)
            faults.record("audio: no file", "refused" if "\n" not in str(caught.value) else "silent", name)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_another_length_than_its_row(recordings, suffix, faults, tmp_path):
    """A window that lies within both is not read all the same: its targets are of another file."""
    path = write(tmp_path / f"a.{suffix}", recordings[suffix].text)
    for length in (len(recordings[suffix].wave) + 320, len(recordings[suffix].wave) - 320):
        with pytest.raises(AudioError, match=f"not of the {length} samples that its row says"):
            read_audio(path, 0, 9600, length)
        faults.record("audio: of another length than its row", "refused")


def test_a_header_that_promises_too_much(faults, tmp_path):
    _promise_too_much(tmp_path, make_wave())
    for name in ("many.mp3", "many.flac"):
        with pytest.raises(AudioError, match="bytes cannot hold"):
            audio_info(tmp_path / name)
        faults.record("audio: header that promises too much", "refused")


def test_contents_are_counted_and_finite(recordings, faults, tmp_path):
    text = recordings["mp3"].text
    half, nearly_all = write(tmp_path / "half.mp3", text[: len(text) // 2]), write(tmp_path / "nearly_all.mp3", text[:-3])
    for path, reason in ((half, "truncated"), (nearly_all, "truncated"), (tmp_path / "b.wav", "non_finite")):
        if reason == "non_finite":
            soundfile.write(path, _samples(np.nan), RATE, subtype="FLOAT")
        with open_audio(path) as sound, pytest.raises(AudioError) as caught:
            check_contents(sound)
        faults.record("audio: contents", "refused" if caught.value.reason == reason else "silent")
