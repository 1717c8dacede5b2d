"""`mert probe check` and the check before a probe refuse what cannot be heard, file by file."""

import numpy as np
import pytest
import soundfile
from miniatures import build

from mert_fairseq.probe.data_check import check
from mert_fairseq.probe.registry import TASKS


def problems(data, **settings):
    return check(TASKS["NSynthI"], data, any_counts=True, **settings).problems


@pytest.mark.parametrize("decode", [True, False])
def test_what_cannot_be_heard_is_said_file_by_file(tmp_path, decode):
    data = build("NSynthI", tmp_path)
    short, nan, infinite = sorted((data / "nsynth-train" / "audio").iterdir())[:3]
    wave = np.full(64_000, 0.1, np.float32)
    soundfile.write(short, wave[:100], 22_050)
    for path, value in ((nan, np.nan), (infinite, np.inf)):
        soundfile.write(path, np.append(wave, np.float32(value)), 16_000, subtype="FLOAT")
    found = problems(data, decode=decode)
    assert len(found) == 3 and all("get NSynth from" in problem for problem in found)
    for path, words in ((short, "has 109 samples at 24000 Hz, 400 needed"), (nan, "NaN or infinite"), (infinite, "NaN or infinite")):
        assert sum(str(path) in problem and words in problem for problem in found) == 1
    assert any("has 109 samples" in problem and "1025 needed" in problem for problem in problems(data, shortest=1025))


def test_many_short_files_are_counted(tmp_path):
    data = build("NSynthI", tmp_path)
    for path in data.glob("*/audio/*.wav"):
        soundfile.write(path, np.full(100, 0.1), 24_000)
    found = problems(data, decode=False)
    assert len(found) == 6 and found[-1].startswith("NSynthI: 7 more files cannot be read or are too short; get")


def test_silence_is_a_warning_but_of_stems(tmp_path):
    data = build("NSynthI", tmp_path)
    silent = sorted((data / "nsynth-test" / "audio").iterdir())[0]
    soundfile.write(silent, np.zeros(64_000), 16_000)
    report = check(TASKS["NSynthI"], data, any_counts=True)
    assert report.problems == [] and f"1 files are silent from beginning to end, e.g. {silent}" in report.warnings
    data = build("MUSDB18", tmp_path)
    for path in data.rglob("vocals.wav"):
        soundfile.write(path, np.zeros((100_000, 2)), 44_100)
    assert not any("silent" in warning for warning in check(TASKS["MUSDB18"], data, any_counts=True).warnings)
