"""What people do with pruned models: copy, save, export, move, train, evaluate."""

import copy
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import prunescope.prune as prune
from tests.support.layers import LAYERS, assert_same, make, output


def pruned(kind="linear"):
    module, name, inputs = make(kind)
    prune.l1_unstructured(module, name, 0.4)
    prune.random_unstructured(module, name, 0.3, generator=torch.Generator().manual_seed(0))
    return module, name, inputs


def saved(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return file


# Copies.


@pytest.mark.parametrize("kind", LAYERS)
def test_deepcopy(kind):
    module, name, inputs = pruned(kind)
    copied = copy.deepcopy(module)
    assert_same(module, copied)
    assert torch.equal(output(copied, inputs), output(module, inputs))
    output(copied, inputs).sum().backward()
    assert getattr(copied, name + "_orig").grad is not None
    assert getattr(module, name + "_orig").grad is None


@pytest.mark.parametrize(
    "when", ["fresh", "after_forward", "after_no_grad", "after_backward", "after_pickle"]
)
def test_deepcopy_at_any_time(when):
    module, _, inputs = pruned("lstm")
    if when == "after_forward":
        output(module, inputs)
    if when == "after_no_grad":
        with torch.no_grad():
            output(module.eval(), inputs)
    if when == "after_backward":
        output(module, inputs).sum().backward()
    if when == "after_pickle":
        module = torch.load(saved(module), weights_only=False)
    copied = copy.deepcopy(copy.deepcopy(module))
    assert torch.equal(output(copied, inputs), output(module, inputs))
    assert copied._flat_weights[0] is copied.weight_ih_l0
    assert copied.weight_ih_l0 is not module.weight_ih_l0


def test_a_copys_tensor_has_a_gradient_path_before_any_forward():
    module, _, _ = pruned()
    copied = copy.deepcopy(module)
    copied.weight.sum().backward()
    assert torch.equal(copied.weight_orig.grad, copied.weight_mask)


def test_deepcopy_of_a_model_with_a_tied_weight():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    prune.global_unstructured([(m, "weight") for m in net], prune.L1Unstructured, amount=0.5)
    copied = copy.deepcopy(net)
    assert copied[0].weight_orig is copied[1].weight_orig
    x = torch.randn(2, 4)
    assert torch.equal(copied(x), net(x))


# Files.


def test_a_state_dict_loads_with_weights_only():
    module, _, inputs = pruned()
    loaded = torch.load(saved(module.state_dict()), weights_only=True)
    target, _, _ = pruned()
    with torch.no_grad():
        target.weight_orig.zero_()
    target.load_state_dict(loaded)
    assert torch.equal(output(target, inputs), output(module, inputs))


def test_a_whole_module_loads():
    module, _, inputs = pruned()
    loaded = torch.load(saved(module), weights_only=False)
    assert_same(module, loaded)
    assert torch.equal(output(loaded, inputs), output(module, inputs))
    assert [n for n, _ in prune.remove(loaded, "weight").named_parameters()] == ["weight", "bias"]


def test_a_generator_is_not_saved():
    module = nn.Linear(4, 4)
    prune.random_unstructured(module, "weight", 0.5, generator=torch.Generator())
    torch.load(saved(module), weights_only=False)


@pytest.mark.parametrize("from_pruned", [True, False])
@pytest.mark.parametrize("into_pruned", [True, False])
def test_load_pruned_state_dict_every_way(from_pruned, into_pruned):
    source = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    target = copy.deepcopy(source)
    with torch.no_grad():
        source[0].weight.add_(1)
    if from_pruned:
        prune.l1_unstructured(source[0], "weight", 0.5)
    if into_pruned:
        prune.random_unstructured(target[0], "weight", 0.25)
    mask = target[0].weight_mask.clone() if into_pruned else None
    prune.load_pruned_state_dict(target, source.state_dict())
    assert prune.is_pruned(target) == (from_pruned or into_pruned)
    if from_pruned:
        mask = source[0].weight_mask
    expected = source[0].weight if mask is None else source[0].weight * mask
    assert torch.equal(target[0].weight, expected)


def test_load_pruned_state_dict_is_all_or_nothing():
    source = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    prune.l1_unstructured(source[0], "weight", 0.5)
    target = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    before = copy.deepcopy(target.state_dict())
    with pytest.raises(RuntimeError, match="size mismatch"):
        prune.load_pruned_state_dict(target, source.state_dict())
    assert not prune.is_pruned(target)
    assert list(target.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_load_pruned_state_dict_says_what_did_not_match():
    layer = prune.l1_unstructured(nn.Linear(3, 2), "weight", 0.5)
    state = {k: v for k, v in layer.state_dict().items() if k != "bias"} | {"extra": torch.ones(1)}
    with pytest.raises(RuntimeError, match="extra"):
        prune.load_pruned_state_dict(nn.Linear(3, 2), state)
    keys = prune.load_pruned_state_dict(nn.Linear(3, 2), state, strict=False)
    assert (keys.missing_keys, keys.unexpected_keys) == (["bias"], ["extra"])


# Compilers.


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.fc = nn.Linear(12, 2)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))


def pruned_net():
    torch.manual_seed(0)
    net = Net()
    prune.ln_structured(net.conv, "weight", 1, n=2, dim=0)
    prune.l1_unstructured(net.fc, "weight", 0.5)
    return net, torch.randn(2, 2, 4, 4)


@pytest.mark.parametrize("training", [True, False])
def test_jit_trace(training):
    net, x = pruned_net()
    net.train(training)
    traced = torch.jit.trace(net, (x,))
    assert torch.equal(traced(x), net(x))
    assert torch.equal(copy.deepcopy(net)(x), net(x))
    assert {"conv.weight_orig", "fc.weight_orig"} <= {n for n, _ in traced.named_parameters()}


@pytest.mark.filterwarnings(
    "ignore:While compiling, we found certain side effects", "ignore:The tensor attributes"
)
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("warm", [True, False])
def test_export(strict, warm):
    net, x = pruned_net()
    net.eval()
    if warm:
        with torch.no_grad():
            net(x)
    exported = torch.export.export(net, (x,), strict=strict)
    copied = copy.deepcopy(net)
    torch.testing.assert_close(exported.module()(x), net(x))
    assert torch.equal(net(x), copied(x))


def test_compile_traces_the_mask():
    net, x = pruned_net()
    compiled = torch.compile(net, backend="eager")
    out = compiled(x)
    copied = copy.deepcopy(net)
    torch.testing.assert_close(out, net(x))
    assert torch.equal(net(x), copied(x))
    with torch.no_grad():
        net.fc.weight_orig.mul_(2)
    torch.testing.assert_close(compiled(x), net(x))


def has_compiler():
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return bool(get_cpp_compiler())
    except Exception:
        return False


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler, and there is none here")
def test_compile():
    net, x = pruned_net()
    torch.testing.assert_close(torch.compile(net)(x), net(x))


def test_functional_call_and_per_sample_gradients():
    net, x = pruned_net()
    parameters = {k: v.detach() for k, v in net.named_parameters()}
    buffers = dict(net.named_buffers())

    def loss(p, sample):
        return torch.func.functional_call(net, (p, buffers), (sample[None],)).sum()

    grads = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    assert grads["fc.weight_orig"].shape == (2, 2, 12)
    assert (grads["fc.weight_orig"][:, net.fc.weight_mask == 0] == 0).all()


# Moves.


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_to_another_dtype(dtype):
    module, _, inputs = pruned()
    module.to(dtype)
    out = output(module, tuple(x.to(dtype) for x in inputs))
    assert out.dtype == module.weight.dtype == module.weight_mask.dtype == dtype
    prune.l1_unstructured(module, "weight", 2)
    assert prune.remove(module, "weight").weight.dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_gives_the_masks_of_the_cpu():
    from tests.support.layers import STEPS

    for step in ("l1", "ln2", "inf", "random_rows", "custom", "global"):
        masks = []
        for device in ("cpu", "cuda"):
            module, name, _ = make("conv2d")
            module.to(device)
            torch.manual_seed(0)
            STEPS[step](prune, module, name)
            masks.append(getattr(module, name + "_mask").cpu())
        assert torch.equal(*masks), step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_with_a_generator_of_the_cpu_and_ties():
    for method in (
        prune.RandomUnstructured(0.5, generator=torch.Generator().manual_seed(1)),
        prune.L1Unstructured(0.5),
        prune.LnStructured(0.5, n=2, dim=0),
    ):
        t = torch.randint(0, 3, (300, 300)).float()
        masks = []
        for device in ("cpu", "cuda"):
            if hasattr(method, "generator"):
                method.generator.manual_seed(1)
            ranking = method.rank(t.to(device))
            masks.append(
                [ranking.mask(k).cpu() for k in (1, 100, ranking.units // 2)]
                if ranking.units > 300
                else [ranking.mask(k).cpu() for k in (1, 100, 150)]
            )
        assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_moving_to_cuda_and_back_is_never_stale():
    module, _, inputs = pruned()
    module.eval()
    with torch.no_grad():
        expected = output(module, inputs)
        on_gpu = output(module.cuda(), tuple(x.cuda() for x in inputs))
        torch.testing.assert_close(on_gpu.cpu(), expected)
        assert torch.equal(output(module.cpu(), inputs), expected)


# Tied weights, computed weights.


def test_a_tied_weight_pruned_in_one_place():
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    prune.l1_unstructured(a, "weight", 0.5)
    assert a.weight_orig is b.weight
    assert b.weight.ne(0).all()
    prune.remove(a, "weight")
    assert a.weight is b.weight
    assert int((b.weight == 0).sum()) == 8


def test_weight_norm_of_old_is_refused_but_its_parts_are_pruned():
    with pytest.warns(FutureWarning):
        layer = nn.utils.weight_norm(nn.Linear(4, 3))
    with pytest.raises(prune.ParameterError, match=r"'weight' is computed; its parameters: .*weight_v"):
        prune.l1_unstructured(layer, "weight", 0.5)
    prune.l1_unstructured(layer, "weight_v", 0.5)
    for _ in range(2):
        layer(torch.ones(1, 4)).sum().backward()
        with torch.no_grad():
            layer.weight_v_orig.add_(1.0)
        layer(torch.ones(1, 4))
        expected = torch._weight_norm(layer.weight_v_orig * layer.weight_v_mask, layer.weight_g, 0)
        torch.testing.assert_close(layer.weight, expected)


@pytest.mark.parametrize(
    "wrap", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.orthogonal]
)
def test_parametrizations_are_refused_but_their_parts_are_pruned(wrap):
    layer = wrap(nn.Linear(4, 4))
    with pytest.raises(prune.ParameterError, match="computed by a parametrization"):
        prune.l1_unstructured(layer, "weight", 0.5)
    parts = layer.parametrizations.weight
    name = next(n for n, p in parts.named_parameters(recurse=False) if p.dim() > 1)
    prune.l1_unstructured(layer, "bias", 0.5)
    prune.l1_unstructured(parts, name, 0.5)
    with torch.no_grad():
        getattr(parts, name + "_orig").add_(1.0)
    layer(torch.ones(1, 4)).sum().backward()
    assert int((getattr(parts, name) == 0).sum()) >= 1


def test_a_lazy_module_is_refused_until_it_has_values():
    layer = nn.LazyLinear(3)
    with pytest.raises(prune.ParameterError, match="run the lazy module once"):
        prune.l1_unstructured(layer, "weight", 0.5)
    layer(torch.ones(1, 2))
    prune.l1_unstructured(layer, "weight", 0.5)


def test_a_parameter_of_that_very_name_is_not_overwritten():
    layer = nn.Linear(2, 2)
    layer.weight_orig = nn.Parameter(torch.ones(1))
    with pytest.raises(prune.ParameterError, match="'weight_orig' of its own"):
        prune.l1_unstructured(layer, "weight", 0.5)


# Modules without values, and modules used from several sides.


def test_a_module_without_values_takes_a_pruned_checkpoint():
    source, shell = nn.Linear(4, 4), nn.Linear(4, 4, device="meta")
    for module in (source, shell):
        prune.identity(module, "bias")
        prune.l1_unstructured(module, "weight", 0.5)
        prune.ln_structured(module, "weight", 1, n=2, dim=0)
    assert shell.weight_mask.is_meta
    with pytest.raises(ValueError, match=r"\(16\), got 99"):
        prune.l1_unstructured(nn.Linear(4, 4, device="meta"), "weight", 99)
    shell.load_state_dict(source.state_dict(), assign=True)
    x = torch.randn(2, 4)
    assert torch.equal(shell(x), source(x))


def test_a_transformer_layer_has_no_fast_path_past_the_masks():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    dense = copy.deepcopy(layer)
    places = [(layer.linear1, dense.linear1, "weight"), (layer.self_attn, dense.self_attn, "in_proj_weight")]
    places += [
        (layer.self_attn.out_proj, dense.self_attn.out_proj, "weight"),
        (layer.norm1, dense.norm1, "bias"),
    ]
    for module, _, name in places:
        prune.l1_unstructured(module, name, 0.5)
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        for _ in range(2):
            for module, plain, name in places:
                getattr(module, name + "_orig").mul_(2)
                getattr(plain, name).copy_(getattr(module, name + "_orig") * getattr(module, name + "_mask"))
            for _ in range(2):
                torch.testing.assert_close(layer(x), dense(x))


def test_threads_see_the_same_tensor():
    layer = prune.l1_unstructured(nn.Linear(300, 200).eval(), "weight", 0.5)
    x = torch.randn(8, 300)
    expected = layer(x)

    def many_passes(_):
        with torch.no_grad():
            return all(torch.equal(layer(x), expected) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(many_passes, range(4)))


# What is kept of torch on purpose.


def test_two_halves_leave_a_quarter_but_after_remove_zeros_go_first():
    layer = nn.Linear(8, 8)
    for _ in range(2):
        prune.l1_unstructured(layer, "weight", 0.5)
    assert int(layer.weight_mask.sum()) == 16
    layer = nn.Linear(8, 8)
    for _ in range(2):
        prune.l1_unstructured(layer, "weight", 0.5)
        prune.remove(layer, "weight")
    assert int((layer.weight != 0).sum()) == 32


def test_one_is_a_unit_and_one_point_zero_is_all():
    assert int(prune.l1_unstructured(nn.Linear(4, 4), "weight", 1).weight_mask.sum()) == 15
    assert int(prune.l1_unstructured(nn.Linear(4, 4), "weight", 1.0).weight_mask.sum()) == 0


def test_a_removed_channel_still_gives_its_bias():
    layer = prune.ln_structured(nn.Linear(4, 3), "weight", 1, n=2, dim=0)
    gone = layer.weight_mask.sum(1) == 0
    assert torch.equal(layer(torch.randn(1, 4))[0, gone], layer.bias[gone])


def test_a_mask_doubles_the_state():
    layer = nn.Linear(4, 3, bias=False)
    before = sum(t.numel() for t in layer.state_dict().values())
    prune.l1_unstructured(layer, "weight", 0.9)
    assert sum(t.numel() for t in layer.state_dict().values()) == 2 * before


# The global random state, and what an import loads.


def test_methods_without_chance_draw_nothing():
    before = torch.get_rng_state()
    layer = nn.Linear(1, 1)
    before = torch.get_rng_state()
    prune.l1_unstructured(layer, "weight", 1)
    prune.ln_structured(layer, "weight", 0, n=2, dim=0)
    prune.random_unstructured(layer, "bias", 0)
    assert torch.equal(before, torch.get_rng_state())


FORBIDDEN = ("matplotlib", "IPython", "ipywidgets")


def forbidden_after(statement):
    """Return which forbidden packages a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print([n for n in {FORBIDDEN!r} if n in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_engine_loads_no_pictures_and_no_widgets():
    assert forbidden_after("import prunescope.prune") == "[]"


def test_that_check_can_fail():
    assert forbidden_after("import prunescope.prune, matplotlib") == "['matplotlib']"


def test_a_buffer_is_called_a_buffer():
    with pytest.raises(
        prune.ParameterError, match="'running_mean' is a buffer; its parameters: 'weight', 'bias'"
    ):
        prune.l1_unstructured(nn.BatchNorm1d(3), "running_mean", 1)
