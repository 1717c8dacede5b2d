"""What separation is run with, and where each number comes from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from mert_fairseq.errors import MertError
from mert_fairseq.export.windows import window_frames
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.task import Option

STEMS = ("vocals", "drums", "bass", "other")  # the order of the published columns
WIENER = ("alone", "together", "none")
SCORE_RATES = (24_000, 44_100)  # Hz
#: Where MARBLE's paper and code disagree or are silent, for the task's row; the setting that gives the other is named.
CHOICES = (
    "The LSTM goes one way, 512 units, as in the code that gave the published scores; the paper says both (bidirectional).",
    "SDR is over a whole song at 24 kHz, as in the code, or at the data's rate (score_rate). museval's is kept beside it.",
    "Each stem is filtered against the rest of the mixture, as its network is trained, by itself; or all together (wiener).",
    "The encoder hears training mixes of 6 s and songs in pieces of 90 s, as in the code (piece_s).",
    "The learning rate is 1e-3; the code's automatic search for another one is left out, as it cannot be repeated.",
    "An update takes 32 mixes; the published runs took 32 on each of 8 GPUs (batch).",
    "A mask is of the mono spectrogram and taken for both channels of the mixture.",
    "Validation is by SDR over whole songs with the mixture's phase, without the Wiener filter.",
)
#: The other readings that can be asked for; first is what the settings have.
OPTIONS = (
    Option("bidirectional", (False, True), "of the LSTM: forward only (MARBLE's code) or both ways (its paper)", "head"),
    Option("stored_mixes", (False, True), "new mixes each epoch, or the first epoch's in all, kept as features on disk: quicker", "head"),
    Option("wiener", WIENER, "each stem filtered by itself (MARBLE's code), all together (Open-Unmix), or the mixture's phase", "score"),
    Option("score_rate", SCORE_RATES, "Hz at which SDR is taken: 24000 (MARBLE's code) or the data's own", "score"),
)
#: What has no influence on the networks.
_FREE = ("encoder_batch", "workers", "save_every_s", "decoded", "wiener", "score_rate")


@dataclass(frozen=True)
class SeparationSettings:
    """The protocol of MARBLE's MUSDB18 task; where its paper and its code disagree, the code, which gave the published scores.

    Attributes:
        targets: stems to train a network for.
        layer: 0 (the transformer's input) .. L; None: softmax-weighted sum of layers 1 .. L.
        bidirectional: direction of the LSTM; MARBLE's code has one of 512 units forward, its paper says both (then 256 each way).
        hidden, lstm_layers, dropout: of the network (MARBLE's code; Open-Unmix's own).
        chunk_s: seconds of a training mix (paper, 2.4).
        samples_per_track: mixes of an epoch, per training track (code).
        batch: mixes of an update (probe_musdb18.sh; there on each of 8 GPUs).
        lr: of Adam, without weight decay (probe_musdb18.sh; its automatic search for another one is left out).
        epochs: at most; plateau: epochs without a better validation SDR until lr is halved; patience: until it ends (same file).
        stored_mixes: True: the mixes are drawn once and their features kept on disk (half precision): another, easier training set,
            for machines on which the encoder cannot hear new mixes each epoch.
        piece_s: seconds that the encoder hears of a song at a time (code).
        wiener: "alone": each stem against the rest of the mixture, as MARBLE's code, whose networks are run one by one;
            "together": all targets and the rest, as Open-Unmix; "none": the mixture's phase.
        score_rate: Hz at which estimate and reference are compared: 24000 as MARBLE's code, or 44100, the data's own.
        encoder_batch: mixes that the encoder hears at a time, for memory.
        workers: threads that read mixes.
        save_every_s: seconds between two notes of where training stands; a killed run goes on from the last one.
        decoded: folder for decoded .stem.mp4 files, to be shared by runs; None: within the run's own.
    """

    targets: Tuple[str, ...] = STEMS
    layer: Optional[int] = None
    bidirectional: bool = False
    hidden: int = 512
    lstm_layers: int = 3
    dropout: float = 0.4
    chunk_s: float = 6.0
    samples_per_track: int = 64
    batch: int = 32
    lr: float = 1e-3
    epochs: int = 50
    plateau: int = 2
    patience: int = 5
    stored_mixes: bool = False
    piece_s: float = 90.0
    wiener: str = "alone"
    score_rate: int = 24_000
    seed: int = 1234
    encoder_batch: int = 8
    workers: int = 2
    save_every_s: float = 300.0
    decoded: Optional[Path] = None

    def check(self, encoder: ProbedEncoder) -> None:
        """Raises MertError for a value that is not allowed."""
        if not self.targets or set(self.targets) - set(STEMS) or len(set(self.targets)) < len(self.targets):
            raise MertError(f"targets {', '.join(self.targets) or 'none'}: some of {', '.join(STEMS)} wanted, each once")
        if self.layer is not None and not 0 <= self.layer <= encoder.num_layers:
            raise MertError(f"layer {self.layer}: {encoder.name} has 0 (the transformer's input) to {encoder.num_layers}")
        for name, allowed in (("wiener", WIENER), ("score_rate", SCORE_RATES)):
            if getattr(self, name) not in allowed:
                raise MertError(f"{name} {getattr(self, name)!r}: one of {', '.join(map(str, allowed))} wanted")
        for name in ("hidden", "lstm_layers", "samples_per_track", "batch", "epochs", "patience", "encoder_batch", "workers"):
            if getattr(self, name) < 1:
                raise MertError(f"{name} {getattr(self, name)}: at least 1 wanted")
        if self.bidirectional and self.hidden % 2:
            raise MertError(f"hidden {self.hidden}: an even number wanted, half of it for each direction")
        if not (self.lr > 0 and 0 <= self.dropout < 1):
            raise MertError(f"lr {self.lr}, dropout {self.dropout}: lr above 0 and dropout from 0 to below 1 wanted")
        for seconds in (self.chunk_s, self.piece_s):
            window_frames(seconds)

    @property
    def chunk_frames(self) -> int:
        """Hops of 320 samples in a training mix."""
        return window_frames(self.chunk_s)

    def decisive(self) -> Dict[str, Any]:
        """What decides the networks, as JSON has it."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE} | {"targets": list(self.targets)}
