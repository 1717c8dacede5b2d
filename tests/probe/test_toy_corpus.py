"""The made-up clips: labels are what is played, splits share no instrument, the same command makes the same clips."""

import numpy as np
import pytest

from mert_fairseq.data.audio import read_audio
from mert_fairseq.errors import MertError
from mert_fairseq.probe.toy import corpus
from mert_fairseq.probe.toy.soundfont import SoundFont
from mert_fairseq.probe.toy.tasks import KITS, TEMPOS, TOY_TASKS, programs_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    before, corpus.CLIPS = corpus.CLIPS, {"train": 26, "valid": 2, "test": 3}
    corpus.build(folder)
    yield folder
    corpus.CLIPS = before


def test_every_task_has_its_splits_and_all_classes(folder):
    for name, task in TOY_TASKS.items():
        data = corpus.read(folder, name)
        assert [len(data.of(split)) for split in ("train", "valid", "test")] == [26, 2, 3]
        assert {item.label for item in data.of("train")} == set(range(len(task.classes)))
        for item in data.items[::9]:
            wave = read_audio(item.path)
            assert len(wave) == task.seconds * 24_000 and 0.5 < np.abs(wave).max() <= 0.71


def test_splits_share_no_instrument():
    kits = [set(KITS[split]) for split in ("train", "valid", "test")]
    assert len(set().union(*kits, {0})) == sum(map(len, kits)) + 1  # nor the demo's
    programs = [set(programs_of(split)) for split in ("train", "valid", "test")]
    assert all(programs) and not programs[0] & programs[1] and not programs[0] & programs[2] and not programs[1] & programs[2]


def test_pitch_is_heard_at_its_frequency():
    rng, font = np.random.default_rng(0), SoundFont()
    for label in range(12):
        notes, _ = TOY_TASKS["pitch"].play(rng, label, [0])
        wave = font.render(notes, [0], 2.0)[:19_200]
        peak = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 18)).argmax() * 24_000 / (1 << 18)
        key = 69 + 12 * np.log2(peak / 440)
        assert min((key - label) % 12, (label - key) % 12) < 0.5 or min((key - label - 7) % 12, (label + 7 - key) % 12) < 0.5


def test_beats_of_a_tempo_come_as_often_as_it_says():
    rng = np.random.default_rng(1)
    for label, tempo in enumerate(TEMPOS):
        notes, _ = TOY_TASKS["tempo"].play(rng, label, [33])
        beats = [start for start, _, channel, key, _ in notes if channel == 9 and key in (36, 38)]
        assert 60 / np.diff(beats).mean() == pytest.approx(tempo, rel=0.031)


def test_same_command_makes_the_same_clips_and_only_missing_ones(folder, tmp_path):
    small = {"train": 26, "valid": 2, "test": 3}
    corpus.CLIPS = small
    corpus.build(tmp_path)
    for name in ("pitch/train-003.flac", "tempo/test-001.flac"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")}
    corpus.build(folder)
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")}


def test_other_seed_and_damaged_labels_are_refused(folder, tmp_path):
    with pytest.raises(MertError, match="another version or seed"):
        corpus.build(folder, seed=1)
    with pytest.raises(MertError, match="`mert probe toy` makes it"):
        corpus.read(tmp_path, "key")
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "labels.tsv").write_text("a.flac\ttrain\tH major\n")
    with pytest.raises(MertError, match="labels.tsv: row"):
        corpus.read(tmp_path, "key")
