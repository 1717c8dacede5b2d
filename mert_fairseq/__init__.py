"""MERT pre-training as a fairseq plugin."""
