"""The figure by which fairseq chooses its best checkpoint: one that a validation logs."""

from typing import Any, List

from mert_fairseq.errors import MertError

OF_A_CODEBOOK = ("loss", "correct")
COUNTED = ("perplexity", "target_perplexity", "most_frequent")  # by the watch, of masked frames


def logged_figures(num_codebooks: int, skip_masked: bool, skip_nomask: bool, with_cqt: bool) -> List[str]:
    """Names of what a validation logs of the model.

    Args:
        num_codebooks: K.
        skip_masked, skip_nomask: as in the model's settings.
        with_cqt: whether the CQT is predicted.
    """
    names = ["loss", "loss_features_pen", "masked_share", *["loss_cqt_m"] * with_cqt, *["loss_codes_m"] * (not skip_masked)]
    kinds = [*[f"{kind}_m" for kind in (*OF_A_CODEBOOK, *COUNTED)] * (not skip_masked)]
    kinds += [f"{kind}_u" for kind in OF_A_CODEBOOK] * (not skip_nomask)
    return names + [f"{kind}_{codebook}" for kind in kinds for codebook in range(num_codebooks)]


def check_best_metric(trainer: Any) -> None:
    """Refuses a figure that no validation logs: fairseq would look for it behind the first one.

    Args:
        trainer: fairseq's, about to train.

    Raises:
        MertError: in the same words in all processes.
    """
    name, settings = trainer.cfg.checkpoint.best_checkpoint_metric, trainer.cfg.model
    if trainer.cfg.dataset.disable_validation or getattr(settings, "_name", None) != "mert":
        return
    model = trainer.get_model()
    allowed = logged_figures(
        len(model.num_classes), model.skip_masked, model.skip_nomask, with_cqt=model.encoder_cqt_model is not None
    )
    if name not in allowed:
        raise MertError(f"checkpoint.best_checkpoint_metric={name}: no figure of a validation; allowed: {', '.join(allowed)}")
