"""The rows of a manifest as tracks that are read by window, for what is fitted on a sample of a corpus."""

from dataclasses import dataclass
from pathlib import Path
from typing import List

import numpy as np

from mert_fairseq.data.audio import read_audio
from mert_fairseq.data.manifest import read_manifest

MAX_TRACKS = 20_000  # of a larger manifest so many are drawn, so that memory does not grow with the corpus


@dataclass
class ManifestTrack:
    """One row of a manifest, read by window."""

    path: Path
    num_samples: int

    def read(self, start: int, num_samples: int) -> np.ndarray:
        """Samples start..start+num_samples as float32."""
        return read_audio(self.path, start, num_samples, self.num_samples)


def manifest_tracks(manifest_path: Path) -> List[ManifestTrack]:
    """The rows of a manifest, or 20,000 of them drawn evenly (always the same)."""
    manifest = read_manifest(manifest_path)
    rows = np.arange(len(manifest))
    if len(rows) > MAX_TRACKS:
        rows = np.sort(np.random.default_rng(0).choice(len(rows), MAX_TRACKS, replace=False))
    return [ManifestTrack(manifest.path(int(row)), int(manifest.num_samples[row])) for row in rows]
