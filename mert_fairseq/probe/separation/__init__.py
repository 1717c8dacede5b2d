"""MUSDB18: four stems from a mixture, by Open-Unmix style networks on frozen features. One call does it: `run.separate_and_score`.

    settings      every number, with its source
    data          a task's items as tracks: WAV folders (`tracks`), or .stem.mp4 files decoded once (`stem_files`)
    mixes         random mixes of the training tracks
    listening     the encoder's features on the frames of the spectrogram; `stored_features` keeps them on disk
    network       features -> mask of one stem's magnitudes
    training      one network per stem, side by side on the same mixes; `run_folder` lets a killed run go on
    inference     songs in pieces, Wiener filtering (`wiener`), inverse STFT
    song_scores   test songs, by the measures of `scoring`
    estimate      time before it starts, and memory (`memory`)
"""
