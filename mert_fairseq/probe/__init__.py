"""What the frozen encoder understands: 14 music tasks, small heads on its features, and a gate that needs no download.

    datasets/*.py   one reader per published dataset: its own layout on disk -> items (audio, label, split)
    rows/*.py       one row per task, as task.py has it; registry.py has them by name
    features        of the frozen encoder, cached per model and task
    heads, training a grid of layers and learning rates, chosen on validation, tested once
    scores, table   results.json per task, the 14-task table beside published rows, with footnotes; comparison of runs
"""
