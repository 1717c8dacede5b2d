"""Made-up audio of miniatures."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def write_audio(path: Path, number: int, seconds: float = 2.0, lead_s: float = 0.0) -> None:
    """Seconds of a tone whose pitch follows `number`, with its third and some noise; silence before it."""
    time = np.arange(int(seconds * RATE)) / RATE
    tone = 110 * 2 ** (number % 36 / 12)
    wave = 0.3 * np.sin(2 * np.pi * tone * time) + 0.15 * np.sin(2 * np.pi * 3 * tone * time)
    wave += 0.01 * np.random.default_rng(number).standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate([np.zeros(int(lead_s * RATE)), wave]).astype(np.float32), RATE)
