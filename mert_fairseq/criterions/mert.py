"""The training objective: named terms with named weights.

Per masked frame: sum over codebooks of cross-entropy + features_pen_weight * mean square of the convolution features
+ cqt_weight * mean squared error of the CQT head. Everything is logged in nats and unweighted; no term is read back to the host.
"""

from dataclasses import dataclass, field
from typing import Dict, List

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.hubert_criterion import HubertCriterion, HubertCriterionConfig
from fairseq.logging import metrics
from torch import Tensor

from mert_fairseq.errors import MertError
from mert_fairseq.setting_ranges import WEIGHT, Range, check_ranges

RANGES = {
    **dict.fromkeys(("pred_masked_weight", "pred_nomask_weight", "features_pen_weight", "cqt_weight"), WEIGHT),
    "nan_patience": Range(1, 10**9),
}


@dataclass
class MERTCriterionConfig(HubertCriterionConfig):
    """HuBERT's weights of masked and unmasked frames, and the two further terms by name."""

    features_pen_weight: float = field(
        default=10.0, metadata={"help": "weight of the mean square of the convolution features (published loss_weights[0])"}
    )
    cqt_weight: float = field(default=1.0, metadata={"help": "weight of the CQT error (published loss_weights[1])"})
    nan_patience: int = field(
        default=10, metadata={"help": "updates in a row whose loss or gradient is not finite (each is skipped) before training stops"}
    )


@register_criterion("mert", dataclass=MERTCriterionConfig)
class MERTCriterion(HubertCriterion):
    """Weights, sums and logs what the model computed."""

    def __init__(
        self,
        task,
        pred_masked_weight,
        pred_nomask_weight,
        loss_weights=None,
        log_keys=None,
        features_pen_weight=10.0,
        cqt_weight=1.0,
        nan_patience=10,
    ):
        super().__init__(task, pred_masked_weight, pred_nomask_weight, loss_weights, log_keys)
        self.features_pen_weight = features_pen_weight
        self.cqt_weight = cqt_weight
        self.nan_patience = nan_patience
        check_ranges("criterion", self, RANGES)
        if loss_weights is not None:
            raise MertError(
                f"criterion.loss_weights={list(loss_weights)} is positional; set criterion.features_pen_weight and "
                "criterion.cqt_weight (published: 10 and 1)"
            )

    def forward(self, model, sample, reduce=True, log_pred=False):
        """Loss summed over the batch's masked frames, their number, and what to log.

        Returns:
            (loss [], sample_size, logging_output); the trainer divides gradients by sample_size.
        """
        net_output = model(target_list=sample["target_list"], **sample["net_input"])
        terms = self.weighted_terms(net_output)
        sample_size = self.sample_size(net_output)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        logging_output = self._logging_output(net_output, loss, sample_size, sample["id"].numel())
        logging_output.update(num_samples=sample["net_input"]["source"].numel(), flops=net_output["flops"])
        return loss, sample_size, logging_output

    def sample_size(self, net_output: Dict[str, object]) -> int:
        """Frames whose codes are predicted: the denominator of the gradient."""
        groups = ((self.pred_masked_weight, "codes_m"), (self.pred_nomask_weight, "codes_u"))
        return sum(net_output[key].num_frames for weight, key in groups if weight > 0 and net_output[key] is not None)

    def weighted_terms(self, net_output: Dict[str, object]) -> Dict[str, Tensor]:
        """The terms of the loss by name, each times its weight; means are times sample_size, as the sums over frames are."""
        sample_size = self.sample_size(net_output)
        for setting, key, switch in (("pred_masked_weight", "codes_m", "skip_masked"), ("pred_nomask_weight", "codes_u", "skip_nomask")):
            if getattr(self, setting) > 0 and net_output[key] is None:
                raise MertError(f"criterion.{setting}={getattr(self, setting)} needs model.{switch}=false; or set it to 0")
        terms = {"features_pen": self.features_pen_weight * net_output["features_pen"] * sample_size}
        for weight, key in ((self.pred_masked_weight, "codes_m"), (self.pred_nomask_weight, "codes_u")):
            if weight > 0 and net_output[key] is not None:
                terms[key] = weight * net_output[key].losses.sum()
        if net_output["cqt_mse_m"] is not None:
            terms["cqt_m"] = self.cqt_weight * net_output["cqt_mse_m"] * sample_size
        if not {"codes_m", "codes_u"} & set(terms):
            raise MertError("no frame's codes are predicted: set criterion.pred_masked_weight > 0 and model.skip_masked=false")
        return terms

    def _logging_output(self, net_output, loss: Tensor, sample_size: int, num_clips: int) -> Dict[str, object]:
        logging_output = {
            "loss": loss.detach(),
            "ntokens": sample_size,
            "nsentences": num_clips,
            "sample_size": sample_size,
            "num_masked": net_output["num_masked"],
            "num_frames": net_output["num_frames"],
            "loss_features_pen": net_output["features_pen"].detach() * sample_size,
        }
        if net_output["cqt_mse_m"] is not None:
            logging_output["loss_cqt_m"] = net_output["cqt_mse_m"].detach() * sample_size
        if not self.training and getattr(net_output["codes_m"], "counts", None) is not None:
            logging_output["code_counts"] = net_output["codes_m"].counts  # summed over workers as numbers are
        for group in ("m", "u"):
            codes = net_output[f"codes_{group}"]
            for codebook in range(0 if codes is None else len(codes.losses)):
                logging_output[f"loss_{group}_{codebook}"] = codes.losses[codebook].detach()
                logging_output[f"correct_{group}_{codebook}"] = codes.correct[codebook]
                logging_output[f"count_{group}_{codebook}"] = codes.num_frames
        return logging_output

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, object]]) -> None:
        """Averages over workers and batches: losses per predicted frame in nats, accuracies, share of masked frames."""
        total = {key: sum(log[key] for log in logging_outputs if key in log) for key in logging_outputs[0]}
        size = total["sample_size"]
        if size == 0:
            return
        metrics.log_scalar("loss", total["loss"] / size, size, round=4)
        metrics.log_scalar("loss_features_pen", total["loss_features_pen"] / size, size, round=5)
        if "loss_cqt_m" in total:
            metrics.log_scalar("loss_cqt_m", total["loss_cqt_m"] / size, size, round=5)
        metrics.log_scalar("masked_share", total["num_masked"] / total["num_frames"], total["num_frames"], round=4)
        for key, count in total.items():
            if key.startswith("count_"):
                _log_codebook(key[len("count_") :], total, count)
        _log_code_sum(total)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Sums over workers are enough."""
        return True


def _log_codebook(name: str, total: Dict[str, object], count) -> None:
    """One codebook's loss and accuracy; `name` is like "m_3"."""
    if count > 0:
        metrics.log_scalar(f"loss_{name}", total[f"loss_{name}"] / count, count, round=4)
        metrics.log_scalar(f"correct_{name}", total[f"correct_{name}"] / count, count, round=5)


def _log_code_sum(total: Dict[str, object]) -> None:
    """Cross-entropy summed over codebooks, the figure to hold against the teacher's summed entropy."""
    losses = [value for key, value in total.items() if key.startswith("loss_m_")]
    count = total.get("count_m_0", 0)
    if count > 0:
        metrics.log_scalar("loss_codes_m", sum(losses) / count, count, round=4)
