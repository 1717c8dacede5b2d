"""The `mert` command: the stages before and after training, in the order of the pipeline."""
