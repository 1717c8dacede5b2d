"""How crops are cut from recordings."""

from dataclasses import dataclass


@dataclass
class CropSettings:
    """How crops are cut.

    Attributes:
        max_samples: longest crop, samples (95M: 120,000; 330M: 122,880).
        min_samples: shorter files are left out (published: 72,000).
        per_file: crops of each file per epoch; 0: as many as fit, so that an epoch hears about the whole corpus once.
        random: draw the crops' places; False: evenly from the beginning.
        pad: pad shorter clips to the longest of the batch; False (published): cut all to the shortest.
        most: crops of an epoch, the first of its order; 0: all.
    """

    max_samples: int
    min_samples: int
    per_file: int = 1
    random: bool = True
    pad: bool = False
    most: int = 0
