"""Teachers: what turns audio into the targets that the student predicts."""
