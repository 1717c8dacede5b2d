"""Files cut anywhere, empty, of one sample, with samples that are no numbers, with headers that promise too much, and very long ones."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from damaged_audio import FORMATS, judge, make_recordings, make_wave
from made_checkpoints import write_checkpoint
from outcomes import mert
from training_runs import CODEBOOK_SIZE, NUM_CODEBOOKS, energy_codes, environment

from mert_fairseq.data.audio import AudioError, audio_info, read_audio
from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.native_audio import check_contents, open_audio
from mert_fairseq.data.scan import scan
from mert_fairseq.probe.audio_check import lengths_of
from mert_fairseq.probe.items import Item
from mert_fairseq.teachers.labeller import Labeller
from mert_fairseq.teachers.labelling import write_labels
from mert_fairseq.teachers.shard_dump import DamagedFiles

RATE = 24_000
MEMORY = 0.6  # of what a long file's samples take as they are heard: what it may take more than a short one


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return make_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "model.pt").path


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


LONG_RUN = """
import resource, sys
from mert_fairseq.cli.main import main
from mert_fairseq.data.audio import audio_info, read_audio
folder, out, model = sys.argv[1:]
assert main(["manifest", folder, out, "--valid-percent", "50", "--workers", "1"]) == 0
assert main(["features", model, folder, "--out", out + "/features", "--layer", "0"]) == 0
for name in ("a.flac", "b.flac"):
    length = audio_info(f"{folder}/{name}").num_samples
    assert len(read_audio(f"{folder}/{name}", length - 120_000, 120_000, length)) == 120_000
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def _peak(folder, out, checkpoint, seconds):
    """Bytes of memory that manifest, features and crops of two recordings of that length take; 8 kHz, a tone now and then."""
    folder.mkdir()
    tone = (0.1 * np.sin(np.arange(8000) * 0.3)).astype(np.float32)
    for name in ("a.flac", "b.flac"):
        with soundfile.SoundFile(folder / name, "w", 8000, 1, "PCM_16", format="FLAC") as sound:
            for second in range(seconds):
                sound.write(tone if second % 60 == 0 else 0 * tone)
            seconds = min(seconds, 60)  # one is long
    done = subprocess.run([sys.executable, "-c", LONG_RUN, folder, out, checkpoint], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split("peak ")[1])


def test_a_long_file_takes_no_more_memory(checkpoint, faults, tmp_path):
    """Two hours in the long form: what has its length in samples would take 690 MB as it is heard."""
    seconds = faults.times(3600, 7200)
    short, long = (_peak(tmp_path / f"music{length}", tmp_path / f"out{length}", checkpoint, length) for length in (60, seconds))
    outcome = "survived" if long - short < MEMORY * 4 * RATE * seconds else "lost"
    faults.record("audio: hours long", outcome, f"{short >> 20} MiB, {long >> 20} MiB", f"{seconds // 3600} h")


def test_a_file_that_cannot_be_read_or_is_no_file(faults, tmp_path):
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    for name in ("folder.wav", "pipe.wav", "loop.wav", "missing.wav", "x" * 300 + ".wav", "nul\0.wav"):
        for read in (audio_info, read_audio):
            with pytest.raises(AudioError) as caught:
                read(tmp_path / name)
            faults.record("audio: no file", "refused" if "\n" not in str(caught.value) else "silent", name)


def write(path, text):
    path.write_bytes(text)
    return path


def test_an_ogg_whose_last_pages_are_broken(recordings, faults, tmp_path):
    """libsndfile takes it for a shorter file."""
    for back in (600, 1200, 2500):
        text = bytearray(recordings["ogg"].text)
        text[-back] ^= 1
        with pytest.raises(AudioError, match="page of the Ogg stream"):
            audio_info(write(tmp_path / "a.ogg", text))
        faults.record("audio: last page of an Ogg broken", "refused")


def second_half_header(text):
    """Where a frame of an MP3 begins, behind the middle."""
    return next_header(text, len(text) // 2)


def next_header(text, first):
    """Where the next frame of an MP3 begins, from the byte `first` on."""
    places = range(first, len(text))
    return next(place for place in places if text[place : place + 2] == text[:2] and text[place + 2] & 12 == text[2] & 12)


def test_an_mp3_that_lost_a_frame(recordings, faults, tmp_path):
    """The decoder goes on with the next one: all that follows is 24 ms early, and the end is missing."""
    whole = recordings["mp3"]
    text = bytearray(whole.text)
    text[second_half_header(whole.text)] = 0
    path = write(tmp_path / "a.mp3", text)
    late = len(whole.wave) // 4 * 3 // 320 * 320
    with pytest.raises(AudioError, match="are lost within it"):
        read_audio(path, late, 9600, len(whole.wave))
    assert np.abs(read_audio(path, 0, 9600) - whole.wave[:9600]).max() < 1e-4  # what comes before is as it was
    faults.record("audio: frame of an MP3 lost", "refused")


@pytest.mark.parametrize("frames", [1, 20])
def test_an_mp3_that_whole_frames_are_cut_from(recordings, frames, faults, tmp_path):
    """What is left follows on; the header tells that there were more."""
    whole = recordings["mp3"].text
    begin = end = second_half_header(whole)
    for _ in range(frames):
        end = next_header(whole, end + 1)
    path = write(tmp_path / "a.mp3", whole[:begin] + whole[end:])
    length = len(recordings["mp3"].wave)
    for start in (0, length // 2, length - 9600):
        with pytest.raises(AudioError, match="fewer frames than its header says"):
            read_audio(path, start, 9600, length)
        faults.record("audio: frames cut out of an MP3", "refused")


def test_an_mp3_that_lost_its_length_header(recordings, faults, tmp_path):
    """Without it nothing is trimmed, and everything comes a frame and more later than when its row was written."""
    whole = recordings["mp3"]
    text = bytearray(whole.text)
    place = max(text.find(b"Xing"), text.find(b"Info"))
    text[place] = 0
    with pytest.raises(AudioError, match="its row says"):
        read_audio(write(tmp_path / "a.mp3", text), 0, 9600, len(whole.wave))
    faults.record("audio: length header of an MP3 lost", "refused")


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
    for path, reason in ((write(tmp_path / "a.mp3", text[: len(text) // 2]), "truncated"), (tmp_path / "b.wav", "non_finite")):
        if reason == "non_finite":
            soundfile.write(path, _samples(np.nan), RATE, subtype="FLOAT")
        with open_audio(path) as sound, pytest.raises(AudioError) as caught:
            check_contents(sound)
        faults.record("audio: contents", "refused" if caught.value.reason == reason else "silent")


def test_probe_check_decodes_what_it_checks(recordings, faults, tmp_path):
    """An MP3 with whole headers and a lost frame; --quick does not see it, and says that it does not look."""
    text = bytearray(recordings["mp3"].text)
    text[second_half_header(recordings["mp3"].text)] = 0
    item = Item("a", write(tmp_path / "a.mp3", text), "train", 0)
    seconds, wrong, _ = lengths_of([item], 1)
    faults.record("audio: lost frame, probe check", "refused" if not seconds and len(wrong) == 1 else "silent", str(wrong))
    assert lengths_of([item], 1, decode=False)[1] == []


@pytest.mark.parametrize("fault", ["broken", "missing"])
def test_an_ogg_with_a_fault_in_its_middle(fault, faults, tmp_path):
    """libsndfile leaves the page out and what follows comes early; a window far from it is as it was, even in a file of many pages."""
    path = tmp_path / "a.ogg"
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 120 * RATE).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 1, format="OGG", subtype="VORBIS") as sound:
        for first in range(0, len(wave), RATE):  # at once it would overflow libsndfile's stack
            sound.write(wave[first : first + RATE])
    whole, text = read_audio(path), bytearray(path.read_bytes())
    assert len(text) > 6 * 65_307
    kind = f"audio: page of a long Ogg {fault}"
    if fault == "broken":
        text[len(text) // 2] ^= 1
    else:
        begin = text.index(b"OggS\0", len(text) // 2)
        del text[begin : text.index(b"OggS\0", begin + 1)]
    write(path, text)
    refused = []
    for start in range(0, len(whole) - 48_000, 48_000):
        try:
            found = read_audio(path, start, 48_000, len(whole))
        except AudioError as error:
            refused.append(start)
            faults.record(kind, "refused" if "page of the Ogg stream" in str(error) else "silent", str(error))
        else:
            same = np.array_equal(found, whole[start : start + 48_000])
            faults.record(kind, "survived" if same else "silent", str(start))
    assert 0 < len(refused) < 30  # of 59
