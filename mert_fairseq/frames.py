"""The only sample/frame arithmetic of the project.

One frame of every target and of the model's output is one hop of 320 samples at 24 kHz, 75 frames per second
(strides 5*2*2*2*2*2*2 of the published configuration). Frame t of the codes covers samples 320 t .. 320 t + 319; frame t of
the CQT is centred on sample 320 t; frame t of the convolution stack sees 400 samples from 320 t, centred on 320 t + 200.
They are paired by index, as published.
"""

from fractions import Fraction
from typing import Any, Sequence, Tuple

SAMPLE_RATE = 24_000  # Hz; published configuration, task.sample_rate
HOP = 320  # samples per frame; EnCodec 24 kHz and the published convolution stack alike
FRAME_RATE = SAMPLE_RATE // HOP  # 75 Hz; published configuration, task.label_rate

#: (channels, kernel, stride) of the published convolution stack.
CONV_LAYERS = ((512, 10, 5),) + ((512, 3, 2),) * 4 + ((512, 2, 2),) * 2


def num_conv_frames(num_samples: int, conv_layers: Sequence[Tuple[int, int, int]] = CONV_LAYERS) -> int:
    """Frames that an unpadded convolution stack gives for `num_samples` (120,000 -> 374, 122,880 -> 383)."""
    frames = num_samples
    for _, kernel, stride in conv_layers:
        frames = (frames - kernel) // stride + 1 if frames >= kernel else 0
    return frames


def num_code_frames(num_samples: int) -> int:
    """Frames of a codec's codes, the last one padded: ceil(S / 320)."""
    return -(-num_samples // HOP)


def num_cqt_frames(num_samples: int) -> int:
    """Frames of the centred CQT: floor(S / 320) + 1."""
    return num_samples // HOP + 1


def frame_span(num_samples, label_rate: float) -> Tuple[Any, Any]:
    """Whole frames that `num_samples` (24 kHz) fill at `label_rate` Hz, and those they touch: floor and ceil of S x rate / 24000.

    `num_samples` is an int or an int64 array [N]; so are both results.
    """
    rate = Fraction(label_rate).limit_denominator(1000)
    product, second = num_samples * rate.numerator, SAMPLE_RATE * rate.denominator
    return product // second, -(-product // second)


def floor_to_grid(num_samples: int) -> int:
    """The largest multiple of the hop that is not above `num_samples`."""
    return num_samples - num_samples % HOP


def receptive_field(conv_layers: Sequence[Tuple[int, int, int]] = CONV_LAYERS) -> int:
    """Samples that one output frame of the stack sees: 400 for the published one."""
    field, jump = 1, 1
    for _, kernel, stride in conv_layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field
