"""Class ids of codes: fairseq's <s> <pad> </s> <unk> come first in every label table, so class id = code + 4."""

NUM_SPECIALS = 4
PAD = 1
