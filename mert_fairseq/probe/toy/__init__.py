"""A gate that needs no download: made-up, labelled music from a sampled General MIDI sound font.

    soundfont.py   notes -> samples
    tasks.py       what is played and what its label is; the instruments of the splits are disjoint
    corpus.py      writes the clips, and reads them as a task's items
"""
