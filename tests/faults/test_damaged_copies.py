"""A converted copy that is damaged: made again as it was, or refused by its name; never listed with other samples."""

import numpy as np
import pytest
import soundfile
from damaged_content import damages

from mert_fairseq.data.audio import read_audio
from mert_fairseq.data.scan import scan
from mert_fairseq.frames import SAMPLE_RATE


@pytest.fixture
def music(tmp_path):
    """Eight sources of a second."""
    (tmp_path / "music").mkdir()
    for number in range(8):
        wave = 0.2 * np.random.default_rng(number).standard_normal(SAMPLE_RATE)
        soundfile.write(tmp_path / "music" / f"{number}.wav", wave, SAMPLE_RATE)
    return tmp_path / "music"


def test_under_the_scan(faults, music, tmp_path):
    settings = dict(convert=tmp_path / "copies", valid_percent=50, min_seconds=0.5, workers=1)
    scan(music, tmp_path / "out", **settings)
    path = tmp_path / "copies" / "3.wav.flac"
    text, wave = path.read_bytes(), read_audio(path)
    for kind, content in damages(text, faults, np.random.default_rng(0)):
        path.write_bytes(content)
        report = scan(music, tmp_path / "out", **settings)
        if report.rejected:
            named = report.rejected == {"copy_name_taken": 1} and str(path) in report.report_path.read_text()
            outcome = "refused" if named else "silent"
        else:
            outcome = "survived" if np.array_equal(read_audio(path), wave) else "silent"
        faults.record(f"damaged copy: {kind}", outcome, report.report_path.read_text())
        path.write_bytes(text)
