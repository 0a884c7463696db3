"""What a state of a model costs: against files that are really saved, and figures worked out by hand."""

import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.utils.prune as oracle
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.export import FILES, pruned_model, save, sparse_state
from prunescope.measure import Savings
from prunescope.measure.costs.measuring import (
    FileSizes,
    compressed_sizes,
    file_sizes,
    flops,
    measure,
    nonzero,
)
from prunescope.session import Session
from prunescope.sources import (
    FileEntry,
    Source,
    checkpoint_source,
    copy_of,
    demo_source,
    file_parts,
    module_source,
)
from tests.support import networks


def network() -> nn.Sequential:
    model = networks.network(3, norm=True)
    model[-1].double()
    return model


class Tied(nn.Module):
    """An embedding whose weight is the head's too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10)
        self.head.weight = self.embedding.weight


def pruned_by_torch() -> nn.Module:
    model = network()
    oracle.l1_unstructured(model[0], "weight", 0.5)
    oracle.l1_unstructured(model[0], "bias", 0)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "convolution": network,
    "tied": Tied,
    "pruned by torch": pruned_by_torch,
    "half": lambda: network().half(),
    "cnn": lambda: demo_source("cnn").module,
}


def step(session: Session, **changes: object) -> None:
    wanted = replace(session.first_spec, **changes)
    session.apply(session.preview(session.resolve(wanted, frozenset(changes))))


def saved(model: nn.Module) -> bytes:
    state = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    return safetensors.torch.save(state, {"format": "pt"})


def measured(session: Session, what: object = None) -> FileSizes:
    *_, sizes = compressed_sizes(session, what)
    return sizes


def files(session: Session) -> tuple[bytes, bytes, bytes]:
    model = copy_of(session.source.module)
    for name in [name for name, _ in model.named_parameters() if name.endswith("_orig")]:
        prefix, _, own = name.removesuffix("_orig").rpartition(".")
        module = model.get_submodule(prefix)
        weight = getattr(module, f"{own}_orig").detach().clone()
        oracle.remove(module, own)
        getattr(module, own).data.copy_(weight)
    return saved(model), saved(pruned_model(session)), FILES["state_dict"].content(session)


@pytest.mark.parametrize("name", MODELS)
def test_sizes_are_those_of_files_that_are_saved(name: str) -> None:
    session = Session(module_source(MODELS[name]()))
    step(session, amount=0.9)
    last = [name for name, tensor in session.tensors.items() if len(tensor.shape) > 1][-1]
    step(session, method="random_structured", amount=1, dim=1, layer=last)
    really = files(session)
    permanent = pruned_model(session, permanent=True).state_dict()
    taken = safetensors.torch.load(really[2])
    assert taken.keys() == permanent.keys()
    assert all(torch.equal(taken[name], permanent[name]) for name in taken)
    assert file_sizes(session, session.applied) == FileSizes(*map(len, really))
    assert measured(session, session.applied) == FileSizes(*(len(zlib.compress(file)) for file in really))


def test_a_state_measured_once_is_not_measured_again() -> None:
    session = Session(module_source(network()))
    step(session, amount=0.5)
    assert len(list(compressed_sizes(session, session.applied))) > 1
    assert list(compressed_sizes(session, session.applied)) == [measured(session, session.applied)]
    preview = session.preview(session.resolve(session.first_spec))
    assert measured(session, preview).permanent < measured(session, session.applied).permanent
    assert len(list(compressed_sizes(session, preview))) > 1, "a preview is not kept"
    with torch.no_grad():
        session.source.module[0].weight.zero_()
    assert measured(session).permanent < measured(session, session.applied).masked


def test_a_large_file_is_compressed_bit_by_bit() -> None:
    session = Session(module_source(nn.Linear(1000, 1000)))
    bits = list(compressed_sizes(session))
    assert len(bits) >= 3 * 4_000_000 / 2**18


def test_a_file_of_every_type_in_the_librarys_own_order() -> None:
    from prunescope.sources.checkpoint.stored import DTYPES

    tensors = {f'{dtype} ü"': torch.zeros(3, 2).to(dtype) for dtype in DTYPES.values()}
    tensors |= {"scalar": torch.tensor(3), "none": torch.zeros(0, 4)}
    entries = [FileEntry(name, tuple(t.shape), t.dtype, lambda t=t: t) for name, t in tensors.items()]
    assert b"".join(file_parts(entries)) == safetensors.torch.save(tensors, {"format": "pt"})


def test_the_file_that_is_taken_home_is_the_one_that_was_announced(tmp_path: Path) -> None:
    session = Session(demo_source("lstm"))
    step(session, amount=0.5)
    path = save(session, "state_dict", tmp_path / "pruned.safetensors")
    assert file_sizes(session, session.applied).permanent == path.stat().st_size


def test_zeros_are_taken_home_without_a_sign() -> None:
    session = Session(module_source(network()))
    step(session, amount=0.9)
    with_signs = pruned_model(session, permanent=True)[0].weight
    without = sparse_state(session)["0.weight"]
    assert torch.equal(without, with_signs)
    assert bool(torch.signbit(with_signs[with_signs == 0]).any())
    assert not torch.signbit(without[without == 0]).any()


def test_what_is_not_zero_is_counted() -> None:
    model = network()
    model[1].bias.data[:2] = 1.0
    session = Session(module_source(model))
    # 6·3·9 and 6 of the convolution, 6 ones and 2 of 6 shifts of the batch-norm, 4·6 and 4 of the linear.
    assert nonzero(session) == 162 + 6 + 6 + 2 + 24 + 4
    assert session.parameters == 162 + 6 + 6 + 6 + 24 + 4
    step(session, amount=100)
    assert nonzero(session, session.applied) == 104
    assert nonzero(session) == 204
    step(session, layer="1.bias", amount=3)
    pruned = session.masks(session.applied)["1.bias"]
    assert nonzero(session, session.applied) == 104 - int((~pruned[:2]).sum())


def test_a_tied_weight_is_counted_once() -> None:
    session = Session(module_source(Tied()))
    assert nonzero(session) == session.parameters == 50


# An output of a product over k numbers takes k multiplications and as many additions.
OPERATIONS = {
    # stem 8×8 · 32 · 9; block1 twice 8×8 · 32 · 32·9; block2 4×4 · 64 · 32·9 and · 64·9 and · 32; head 64·10
    "cnn": 2 * (64 * 32 * 9 + 2 * 64 * 32 * 288 + 16 * 64 * (288 + 576 + 32) + 640),
    "mlp": 2 * (64 * 128 + 128 * 128 + 128 * 10),
    # patches; 3 blocks of 16 tokens: qkv and proj 4·64², two layers 2·64·128, scores and mix 2·16·64; head
    "vit": 2 * (16 * 64 * 4 + 3 * 16 * (4 * 64**2 + 2 * 64 * 128 + 2 * 16 * 64) + 640),
    # 8 rows: 4 gates of 64 from 8 inputs and 64 hidden
    "lstm": 2 * (8 * 256 * (8 + 64) + 640),
}


@pytest.mark.parametrize("key", OPERATIONS)
def test_operations_are_as_worked_out_by_hand_and_a_mask_saves_none(key: str) -> None:
    session = Session(demo_source(key))
    assert flops(session).total == OPERATIONS[key]
    step(session, method="ln_structured", amount=0.5)
    masked = pruned_model(session)
    other = Session(Source(masked, "masked", session.source.data))
    assert flops(other).total == flops(session).total == OPERATIONS[key]


def test_operations_by_layer_and_of_a_whole_encoder_layer() -> None:
    assert flops(Session(demo_source("cnn"))).layers["block2.conv1"] == 2 * 16 * 64 * 288
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    session = Session(Source(model, "encoder", example=torch.zeros(3, 5, 16)))
    assert flops(session).total == 2 * 5 * (4 * 16**2 + 2 * 16 * 32 + 2 * 5 * 16)
    assert torch.backends.mha.get_fastpath_enabled()


def test_without_an_example_no_operations_are_counted() -> None:
    with pytest.raises(RequestError, match="`data` or `example` must be given"):
        flops(Session(module_source(network())))


def test_counting_does_not_load_torchs_compiler() -> None:
    code = (
        "import sys\nfrom prunescope.session import Session\n"
        "from prunescope.measure.costs.measuring import flops\n"
        "from prunescope.sources import demo_source\n"
        "print(flops(Session(demo_source('mlp'))).total, 'torch._dynamo' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(OPERATIONS["mlp"]), "False"]


def test_all_costs_of_a_state_bit_by_bit() -> None:
    session = Session(demo_source("cnn"))
    step(session, layer="block2.conv1", method="ln_structured", amount=16)
    known = list(measure(session, session.applied))
    assert known[0].files is not None
    assert known[0].compressed is None
    costs = known[-1]
    assert costs.nonzero == costs.parameters - 16 * 32 * 9
    assert costs.files == file_sizes(session, session.applied)
    assert costs.compressed == measured(session, session.applied)
    assert costs.flops == flops(session)
    assert costs.cut == Savings(("block2.conv1",), 16 * 32 * 9, 2 * 16 * 16 * 32 * 9)
    (emission,) = costs.emissions
    assert (emission.at_layer, emission.norm, len(emission.channels)) == (0.0, "block2.norm1", 16)
    assert emission.after_norm > 0
    assert costs.problems == {}


def test_what_cannot_be_measured_leaves_the_rest() -> None:
    *_, costs = measure(Session(module_source(network())))
    assert set(costs.problems) == {"flops", "emissions"}
    assert costs.compressed is not None
    broken = Source(network(), "broken", example=torch.zeros(2, 5))
    *_, costs = measure(Session(broken))
    assert costs.problems["flops"].startswith("`data` could not be evaluated: ")
    assert costs.nonzero == 202


@pytest.mark.parametrize("form", ["safetensors", "pt"])
@pytest.mark.parametrize("make", [network, pruned_by_torch], ids=["as trained", "pruned"])
def test_a_checkpoint_costs_what_its_model_does(
    tmp_path: Path, form: str, make: Callable[[], nn.Module]
) -> None:
    path = tmp_path / f"model.{form}"
    state = {name: value.contiguous() for name, value in make().state_dict().items()}
    torch.save(state, path) if form == "pt" else safetensors.torch.save_file(state, path)
    of_file, of_model = Session(checkpoint_source(path)), Session(module_source(make()))
    for session in (of_file, of_model):
        step(session, layer="0.weight", method="ln_structured", amount=2)
        step(session, layer="4.weight", amount=0.5)
        nonzero(session)  # Looks at all tensors, and so at their own masks.
    for measure_it in (file_sizes, measured):
        assert measure_it(of_file, of_file.applied) == measure_it(of_model, of_model.applied)
        assert measure_it(of_file) == measure_it(of_model)
    assert nonzero(of_file) == nonzero(of_model)
    assert nonzero(of_file, of_file.applied) == nonzero(of_model, of_model.applied)
    *_, costs = measure(of_file, of_file.applied)
    assert set(costs.problems) == {"flops", "emissions", "cut"}


def test_what_has_no_type_in_torch_is_said(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]},'
    header += b'"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}} '
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(12))
    with pytest.raises(RequestError, match="holds a as F8_E8M0, which is not measured"):
        file_sizes(Session(checkpoint_source(path)))


def test_a_large_file_is_left_until_asked_for() -> None:
    session = Session(module_source(network()))
    *_, costs = measure(session, largest=100)
    assert costs.files is not None
    assert costs.problems["nonzero"] == costs.problems["compressed"]
    assert costs.problems["nonzero"].startswith("A file of 1.")
    *_, costs = measure(session)
    assert costs.nonzero == 202
