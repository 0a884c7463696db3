"""Checkpoints that transformers itself writes, from a configuration: run where transformers is installed."""

from pathlib import Path

import pytest
import torch

from prunescope.core.spec import PruneSpec
from prunescope.export import save
from prunescope.session import Session
from prunescope.sources import checkpoint_source

transformers = pytest.importorskip("transformers")


def small(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2, n_positions=16)
        return transformers.GPT2LMHeadModel(config)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    )
    return transformers.LlamaForCausalLM(config)


CASES = {
    "llama": ("model.layers.1.mlp.down_proj", "likely Linear", ("output features", "input features")),
    "gpt2": ("transformer.h.1.mlp.c_fc", "likely Linear, transposed", ("input features", "output features")),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_of_transformers_is_explored_pruned_and_loaded_again(
    tmp_path: Path, kind: str, shards: bool, dtype: torch.dtype
) -> None:
    model = small(kind).to(dtype)
    model.save_pretrained(tmp_path / "model", max_shard_size="20KB" if shards else "1GB")
    files = list((tmp_path / "model").glob("*.safetensors"))
    assert (len(files) > 1) == shards
    session = Session(checkpoint_source(tmp_path / "model"))
    layer, likely, axes = CASES[kind]
    tensor = session.tensor(layer)
    assert (tensor.layer_type, tensor.axes) == (likely, axes)
    session.apply(session.preview(session.resolve(PruneSpec(tensor.name, "ln_structured", 0.5, 2, 0))))
    out = tmp_path / ("pruned" if shards else "pruned.safetensors")
    save(session, "state_dict", out)
    if not shards:
        folder = tmp_path / "again"
        folder.mkdir()
        out.rename(folder / "model.safetensors")
        out = folder
    (out / "config.json").write_bytes((tmp_path / "model" / "config.json").read_bytes())
    again = type(model).from_pretrained(out, dtype=dtype)
    mask = session.history.masks()[tensor.name]
    for name, weight in model.state_dict().items():
        expected = torch.where(mask, weight, 0) if name == tensor.name else weight
        assert torch.equal(again.state_dict()[name], expected), name
