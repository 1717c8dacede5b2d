"""Recordings made for the scan, the scan with short settings, and what its manifests and report hold."""

import numpy as np
import soundfile

from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.scan import scan


def tone(seconds, rate=24_000, peak=0.5, channels=1):
    wave = peak * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def write(path, wave, rate=24_000, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **how)
    return path


def run(music, out="out", **settings):
    return scan(music, music.parent / out, **{"valid_percent": 40, "min_seconds": 0.5, "workers": 1, **settings})


def rows(out, split):
    manifest = read_manifest(out / f"{split}.tsv")
    return {manifest.relative_path(row): int(manifest.num_samples[row]) for row in range(len(manifest))}


def both(out):
    return {**rows(out, "train"), **rows(out, "valid")}


def reasons(out):
    lines = (out / "report.tsv").read_text().splitlines()
    assert lines[0] == "path\treason\tdetail"
    return {path: reason for path, reason, _ in (line.split("\t") for line in lines[1:])}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
