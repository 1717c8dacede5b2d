"""Logs and configurations as fairseq leaves them, with the records that a test gives."""

import json


def valid_record(update, losses, correct=(0.25, 0.5), cqt=1.5):
    """What fairseq logs at a validation: numbers as strings, names with the split's."""
    record = {"epoch": 1, "valid_loss": "9.9", "valid_loss_codes_m": str(sum(losses)), "valid_num_updates": str(update)}
    for codebook, (loss, share) in enumerate(zip(losses, correct)):
        record |= {f"valid_loss_m_{codebook}": str(loss), f"valid_correct_m_{codebook}": str(share)}
    return record if cqt is None else {**record, "valid_loss_cqt_m": str(cqt)}


def train_record(update, loss):
    return {"epoch": 1, "update": 0.5, "loss": str(loss), "num_updates": str(update), "train_wall": "12"}


def log_line(record, source="train_inner"):
    return f"[2024-05-06 07:08:09,123][{source}][INFO] - {json.dumps(record)}\n"


def write_log(folder, *lines):
    folder.mkdir(exist_ok=True)
    (folder / "hydra_train.log").write_text("".join(line if isinstance(line, str) else log_line(line) for line in lines))
    return folder


def write_config(run, task, cwd):
    (run / ".hydra").mkdir(parents=True, exist_ok=True)
    (run / ".hydra" / "config.yaml").write_text(json.dumps({"common": {"seed": 1}, "task": {"labels": ["encodec"], **task}}))
    (run / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"cwd": str(cwd)}}}))
