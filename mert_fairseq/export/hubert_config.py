"""The encoder's settings: this package's model and Hugging Face's HubertConfig, each from the other."""

from pathlib import Path
from typing import Any, Dict

from omegaconf import OmegaConf

from mert_fairseq.errors import MertError
from mert_fairseq.export.training_model import NOT_BUILT
from mert_fairseq.models.mert import MERTModel

#: HubertConfig's name -> ours, of values that are the same.
SAME = {
    "hidden_size": "encoder_embed_dim",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_embed_dim",
    "conv_bias": "conv_bias",
    "num_conv_pos_embeddings": "conv_pos",
    "num_conv_pos_embedding_groups": "conv_pos_groups",
    "do_stable_layer_norm": "layer_norm_first",
    "hidden_dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "layerdrop": "encoder_layerdrop",
}
ACTIVATIONS = {"gelu": "gelu", "relu": "relu"}
LAYER_NORM_EPS = 1e-5  # torch's, which fairseq takes


def hubert_config(model: MERTModel) -> Dict[str, Any]:
    """What config.json says of the encoder."""
    cfg = model.cfg
    if str(cfg.activation_fn) not in ACTIVATIONS:
        raise MertError(f"model.activation_fn={cfg.activation_fn}: transformers' HubertModel has {', '.join(ACTIVATIONS)}")
    channels, kernels, strides = (list(part) for part in zip(*model.conv_layers))
    return {name: getattr(cfg, ours) for name, ours in SAME.items()} | {
        "model_type": "hubert",
        "architectures": ["HubertModel"],
        "torch_dtype": "float32",
        "hidden_act": ACTIVATIONS[str(cfg.activation_fn)],
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "num_feat_extract_layers": len(channels),
        "feat_extract_norm": "group" if str(cfg.extractor_mode) == "default" else "layer",
        "feat_extract_activation": "gelu",
        "feat_proj_layer_norm": True,
        "feat_proj_dropout": 0.0,
        "conv_pos_batch_norm": False,
        "layer_norm_eps": LAYER_NORM_EPS,
        "apply_spec_augment": False,
        "vocab_size": 32,
    }


def settings_of(config: Dict[str, Any], source: str) -> Dict[str, Any]:
    """Settings of the model for a HubertConfig or a published MERTConfig; what those leave open is as published for the size."""
    try:
        _check_same_encoder(config, source)
        mode = "default" if config["feat_extract_norm"] == "group" else "layer_norm"
        activation = config["hidden_act"]
        layers = [list(layer) for layer in zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"])]
        encoder = {ours: config[name] for name, ours in SAME.items()}
    except KeyError as error:
        raise MertError(f"{source}: its config.json has no {error}") from None
    except TypeError as error:
        raise MertError(f"{source}: its config.json does not describe a convolution stack ({error})") from None
    size = "mert_large" if encoder["layer_norm_first"] else "mert_base"
    published = OmegaConf.load(Path(__file__).parents[1] / "config" / f"{size}.yaml").model
    rest = {name: value for name, value in published.items() if name in ("final_dim", "untie_final_proj", "attention_relax")}
    return {**rest, **encoder, "conv_feature_layers": layers, "extractor_mode": mode, "activation_fn": activation}


def _check_same_encoder(config: Dict[str, Any], source: str) -> None:
    """Refuses variants of HuBERT that the training model cannot be."""
    wrong = {name: config[name] for name in (*NOT_BUILT, "conv_pos_batch_norm") if config.get(name)}
    if config["layer_norm_eps"] != LAYER_NORM_EPS:
        wrong["layer_norm_eps"] = config["layer_norm_eps"]
    if config.get("feat_extract_activation", "gelu") != "gelu" or config.get("feat_proj_layer_norm", True) is not True:
        wrong["feat_extract_activation, feat_proj_layer_norm"] = "other than gelu and true"
    if wrong:
        raise MertError(f"{source}: {', '.join(f'{name}={value}' for name, value in wrong.items())}: not supported by the training model")
