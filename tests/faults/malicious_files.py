"""Files of weights that are not what they say: archives with tricks, claims beyond the file, settings that would be run or never end."""

import argparse
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict

import torch


def saved(content: Any, **options: Any) -> bytes:
    """As torch.save writes it."""
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def _rezipped(data: bytes, change: Callable[[zipfile.ZipFile, str], None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The records of a checkpoint in a new archive, to which `change` adds more; it is given the archive and its top folder."""
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(stream := io.BytesIO(), "w", compression) as archive:
        names = before.namelist()
        for name in names:
            archive.writestr(name, before.read(name))
        change(archive, names[0].split("/")[0])
    return stream.getvalue()


def _claiming(data: bytes, size: int) -> bytes:
    """All records of the central directory claim to be as large as that."""
    found, place = bytearray(data), data.find(b"PK\x01\x02")
    while place >= 0:
        found[place + 20 : place + 28] = struct.pack("<II", size, size)
        place = data.find(b"PK\x01\x02", place + 4)
    return bytes(found)


def _expanded(state: Dict[str, Any]) -> Dict[str, Any]:
    return {**state, "model": {name: torch.zeros(1).expand(100_000, *tensor.shape) for name, tensor in state["model"].items()}}


def _of_another_kind(state: Dict[str, Any], change: Callable[[torch.Tensor], torch.Tensor]) -> Dict[str, Any]:
    """Of the same names and numbers; one matrix is a tensor that the model's own does not take, or takes half of."""
    name = next(name for name, tensor in state["model"].items() if name.endswith(".fc1.weight"))
    return {**state, "model": {**state["model"], name: change(state["model"][name])}}


def _laughing(state: Dict[str, Any]) -> Dict[str, Any]:
    """Sixty settings that each hold the next one twice: 2**60 values."""
    settings: Any = 1
    for _ in range(60):
        settings = {"a": settings, "b": settings}
    return {**state, "cfg": {**state["cfg"], "common": settings}}


def _circular(state: Dict[str, Any]) -> Dict[str, Any]:
    cfg = {**state["cfg"]}
    cfg["common"] = {"again": cfg}
    return {**state, "cfg": cfg}


def _with_model(state: Dict[str, Any], **settings: Any) -> Dict[str, Any]:
    return {**state, "cfg": {**state["cfg"], "model": {**state["cfg"]["model"], **settings}}}


def _legacy_claim(content: Dict[str, Any]) -> bytes:
    """torch's older form whose storages claim 2**40 numbers."""
    data = saved(content, _use_new_zipfile_serialization=False)
    numel = content["model"]["mask_emb"].numel()
    return data.replace(b"K" + bytes([numel]), b"\x8a\x06" + (1 << 40).to_bytes(6, "little"))


#: Name -> bytes, made of a sound checkpoint's content: nobody takes these for a checkpoint.
ARCHIVES: Dict[str, Callable[[Dict[str, Any]], bytes]] = {
    "a record outside": lambda state: _rezipped(saved(state), lambda zipped, _: zipped.writestr("../../outside", b"x")),
    "a record at the root": lambda state: _rezipped(saved(state), lambda zipped, _: zipped.writestr("/tmp/outside", b"x")),
    "a bomb": lambda state: _rezipped(
        saved(state), lambda zipped, top: zipped.writestr(f"{top}/data/999", bytes(64 << 20)), zipfile.ZIP_DEFLATED
    ),
    "claims of 4 GB": lambda state: _claiming(saved(state), 0xFFFFFFF0),
    "claims of 1 TB in the older form": _legacy_claim,
    "numbers that are repeated": lambda state: saved(_expanded(state)),
    "settings that laugh": lambda state: saved(_laughing(state)),
    "settings in a circle": lambda state: saved(_circular(state)),
    "nested weights": lambda state: saved(_of_another_kind(state, lambda weight: torch.nested.nested_tensor(list(weight)))),
    "quantized weights": lambda state: saved(
        _of_another_kind(state, lambda weight: torch.quantize_per_tensor(weight.float(), 0.1, 0, torch.qint8))
    ),
    "complex weights": lambda state: saved(_of_another_kind(state, lambda weight: torch.complex(weight.float(), weight.float()))),
}

#: Sound files, whose settings ask for a model that no memory holds.
LARGE_MODELS: Dict[str, Callable[[Dict[str, Any]], bytes]] = {
    "a width of a million": lambda state: saved(_with_model(state, encoder_embed_dim=1_000_000)),
    "a billion layers": lambda state: saved(_with_model(state, encoder_layers=10**9)),
    "a convolution of terabytes": lambda state: saved(_with_model(state, conv_feature_layers=[[10**6, 10, 5], [10**6, 3, 2]])),
    "a billion convolutions": lambda state: saved(_with_model(state, conv_feature_layers="[(1, 1, 1)] * 1000000000")),
}


def run(canary: Path) -> str:
    """A convolution stack that makes a file where it is evaluated."""
    return f"[(512,10,5)] if open({str(canary)!r}, 'w').close() is None else []"


def disguised(state: Dict[str, Any], canary: Path) -> Dict[str, bytes]:
    """Checkpoints without any code in their pickle, whose settings fairseq evaluates when it builds the models that they name."""
    model, task = {"_name": "hubert", "conv_feature_layers": run(canary)}, {"_name": "hubert_pretraining", "data": "/", "labels": []}
    arguments = argparse.Namespace(arch="hubert", task="hubert_pretraining", conv_feature_layers=run(canary), data="/", labels=[])
    wav2vec = argparse.Namespace(arch="wav2vec2", task="audio_pretraining", data="/", conv_feature_layers=run(canary))
    cfg = state["cfg"]
    states = {
        "our model, evaluated convolutions": _with_model(state, conv_feature_layers=run(canary)),
        "another model": {**state, "cfg": {**cfg, "model": model}},
        "another model and task": {**state, "cfg": {**cfg, "model": model, "task": task}},
        "another task": {**state, "cfg": {**cfg, "task": task}},
        "another model in args": {**state, "args": arguments},
        "wav2vec 2.0 in args": {**state, "args": wav2vec},
        "args alone": {**state, "args": arguments, "cfg": None},
        "an optimizer": {**state, "cfg": {**cfg, "optimizer": {"_name": "adam", "adam_betas": run(canary)}}},
    }
    return {name: saved(content) for name, content in states.items()}


def torchscript(folder: Path) -> bytes:
    """An archive of torch.jit, which its own loader would run."""
    path = folder / "scripted.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    return path.read_bytes()


def _safetensors(header: bytes, data: bytes = b"\0" * 16, length: "int | None" = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def _tensors(**tensors: Any) -> bytes:
    return json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": place} for name, (shape, place) in tensors.items()}).encode()


#: Name -> bytes of a .safetensors file.
SAFETENSORS: Dict[str, bytes] = {
    "a header of 2**63 bytes": _safetensors(b"{}", length=1 << 63),
    "a header longer than the file": _safetensors(b"{}", length=1 << 30),
    "overlapping tensors": _safetensors(_tensors(a=([2], [0, 8]), b=([2], [4, 12]))),
    "a hole": _safetensors(_tensors(a=([2], [0, 8]), b=([1], [12, 16]))),
    "beyond the end": _safetensors(_tensors(a=([1 << 40], [0, 1 << 42]))),
    "a shape that is not its bytes": _safetensors(_tensors(a=([1 << 40], [0, 16]))),
    "a negative shape": _safetensors(_tensors(a=([-4], [0, 16]))),
    "offsets the wrong way round": _safetensors(_tensors(a=([4], [16, 0]))),
    "a shape that overflows": _safetensors(_tensors(a=([1 << 32, 1 << 32], [0, 0])), b""),
    "an unknown type": _safetensors(b'{"a": {"dtype": "PICKLE", "shape": [4], "data_offsets": [0, 16]}}'),
    "brackets without end": _safetensors(b"[" * 100_000),
    "no JSON": _safetensors(b"\x80\x02" + b"x" * 30),
    "a pickle": pickle.dumps({"a": 1}, protocol=2),
    "a zip file": saved({"a": torch.zeros(2)}),
    "empty": b"",
}
