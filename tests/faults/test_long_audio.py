"""Recordings of hours: they take no more memory than short ones."""

import subprocess
import sys

import numpy as np
import soundfile
from test_odd_audio import RATE
from training_runs import environment

MEMORY = 0.6  # of what a long file's samples take as they are heard: what it may take more than a short one

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
