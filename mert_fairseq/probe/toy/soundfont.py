"""Notes played by the General MIDI sound font that `pretty_midi` carries, through `tinysoundfont`."""

import importlib.util
from pathlib import Path
from typing import Iterable, Sequence, Tuple

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE

Note = Tuple[float, float, int, int, int]  # start and length in seconds, channel, MIDI key, velocity
DRUMS = 9  # the channel of General MIDI's percussion
NEEDED = "pip install --no-deps tinysoundfont pretty_midi"


class SoundFont:
    """A synthesiser with the sound font loaded. Raises MertError where a package is missing."""

    def __init__(self) -> None:
        try:
            import tinysoundfont

            found = importlib.util.find_spec("pretty_midi")
        except ImportError as error:
            raise MertError(f"made-up music needs a sound font ({error}); {NEEDED}") from None
        path = Path(found.origin).with_name("TimGM6mb.sf2") if found and found.origin else None
        if path is None or not path.is_file():
            raise MertError(f"made-up music needs pretty_midi's sound font; {NEEDED}")
        self._synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE)
        self._bank = self._synth.sfload(str(path))

    def render(self, notes: Iterable[Note], programs: Sequence[int], seconds: float, kit: int = 0) -> np.ndarray:
        """Float32 [S] at 24 kHz, peak 0.7.

        Args:
            programs: General MIDI's number (from 0) of channels 0, 1, ...; percussion is on channel 9.
            kit: of the percussion, as General Standard numbers them; 0 is the standard one.
        """
        synth = self._synth
        synth.sounds_off()
        for channel, program in enumerate(programs):
            synth.program_select(channel, self._bank, 0, program)
        synth.program_select(DRUMS, self._bank, 128, kit)
        pieces, now, end = [], 0, round(seconds * SAMPLE_RATE)
        for time_s, on, channel, key, velocity in sorted(_events(notes)):
            sample = min(int(time_s * SAMPLE_RATE), end)
            pieces.append(self._generate(sample - now))
            now = sample
            if on:
                synth.noteon(channel, key, velocity)
            else:
                synth.noteoff(channel, key)
        wave = np.concatenate([*pieces, self._generate(end - now)])
        return 0.7 * wave / max(1e-6, float(np.abs(wave).max()))

    def _generate(self, num_samples: int) -> np.ndarray:
        if num_samples <= 0:
            return np.zeros(0, np.float32)
        return np.frombuffer(bytes(self._synth.generate(num_samples)), np.float32).reshape(-1, 2).mean(1)


def _events(notes: Iterable[Note]):
    for start, length, channel, key, velocity in notes:
        yield start, True, channel, key, velocity
        yield start + length, False, channel, key, 0
