"""A masked forward pass in evaluation reuses its product, and is never stale."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import prunescope.prune as prune

SIZES = [(6, 4), (300, 200)]


def layer_of(size):
    torch.manual_seed(0)
    layer = nn.Linear(*size)
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer.eval()


def fresh(layer):
    return torch.where(layer.weight_mask.bool(), layer.weight_orig, 0.0)


def optimizer_step(layer):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for p in layer.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()


def data_of_the_old_kind(layer):
    for p in layer.parameters():
        p.data.sub_(0.1)


def load(layer):
    layer.load_state_dict({k: torch.ones_like(v) for k, v in layer.state_dict().items()})


def assign(layer):
    state = {k: torch.ones_like(v) for k, v in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)


def data_twice(layer):
    shape = layer.weight_orig.shape
    layer.weight_orig.data = torch.full(shape, 2.0)
    layer.weight_orig.data = torch.full(shape, 3.0)


def new_parameter(layer):
    layer.weight_orig = nn.Parameter(torch.full_like(layer.weight_orig, 4.0))


def new_mask(layer):
    layer.weight_mask = torch.ones_like(layer.weight_mask)


def through_numpy(layer):
    layer.weight_orig.detach().numpy()[:] = 7.0


EDITS = {
    "optimizer": optimizer_step,
    "old_optimizer": data_of_the_old_kind,
    "load": load,
    "assign": assign,
    "in_place": lambda m: m.weight_orig.mul_(2),
    "one_element": lambda m: m.weight_orig[0, 0].add_(1),
    "data": lambda m: setattr(m.weight_orig, "data", torch.ones_like(m.weight_orig)),
    "data_twice": data_twice,
    "data_in_place": lambda m: m.weight_orig.data.mul_(2),
    "numpy": through_numpy,
    "double": lambda m: m.double(),
    "half_and_back": lambda m: m.half().float(),
    "mask_in_place": lambda m: m.weight_mask.fill_(1),
    "mask_data": lambda m: m.weight_mask.data.fill_(1),
    "new_mask": new_mask,
    "new_parameter": new_parameter,
    "vector_to_parameters": lambda m: nn.utils.vector_to_parameters(
        torch.ones(sum(p.numel() for p in m.parameters())), m.parameters()
    ),
    "share_memory": lambda m: m.share_memory().weight_orig.mul_(3),
    "requires_grad": lambda m: m.requires_grad_(False).weight_orig.mul_(3),
    "prune_again": lambda m: prune.l1_unstructured(m, "weight", 0.5),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("edit", EDITS)
def test_the_next_forward_sees_the_new_weight(edit, size):
    layer = layer_of(size)
    with torch.no_grad():
        layer(torch.ones(1, size[0]))
        layer(torch.ones(1, size[0]))
        EDITS[edit](layer)
        layer(torch.ones(1, size[0], dtype=layer.weight_orig.dtype))
        assert torch.equal(layer.weight, fresh(layer))
        layer(torch.ones(1, size[0], dtype=layer.weight_orig.dtype))
        assert torch.equal(layer.weight, fresh(layer))


# Edits of one element that torch does not count.


def place_kept(layer):
    """Return the index of the last element that is kept: the last that a comparison comes to."""
    return tuple(int(i) for i in layer.weight_mask.nonzero()[-1])


UNCOUNTED = {
    "data": lambda m, at: m.weight_orig.data[at].add_(1),
    "numpy": lambda m, at: m.weight_orig.detach().numpy().__setitem__(at, 7.0),
    "mask": lambda m, at: m.weight_mask.data[at].zero_(),
}


@pytest.mark.parametrize("edit", UNCOUNTED)
@pytest.mark.parametrize("size", [(6, 4), (300, 200), (1100, 1000)])
def test_one_element_uncounted_is_seen_by_the_next_pass(edit, size):
    layer = layer_of(size)
    x = torch.ones(1, size[0])
    with torch.no_grad():
        layer(x)
        layer(x)
        for _ in range(2):
            UNCOUNTED[edit](layer, place_kept(layer))
            layer(x)
            assert torch.equal(layer.weight, fresh(layer))


@pytest.mark.parametrize("edit", UNCOUNTED)
@pytest.mark.parametrize(("size", "batch"), [((6, 4), 1), ((300, 200), 8192)])
def test_memory_that_others_refer_to_is_compared(edit, size, batch):
    layer = layer_of(size)
    state = layer.state_dict()
    x = torch.ones(batch, size[0])
    with torch.no_grad():
        layer(x)
        UNCOUNTED[edit](layer, place_kept(layer))
        layer(x)
        assert torch.equal(layer.weight, fresh(layer))
    assert state["weight_orig"].data_ptr() == layer.weight_orig.data_ptr()


@pytest.mark.parametrize("edit", UNCOUNTED)
def test_memory_that_others_refer_to_is_compared_soon_by_small_passes(edit):
    layer = layer_of((300, 201))
    state = layer.state_dict()
    with torch.no_grad():
        layer(torch.ones(1, 300))
        UNCOUNTED[edit](layer, place_kept(layer))
        for _ in range(-(-300 * 201 // 1024)):
            layer(torch.ones(1, 300))
        assert torch.equal(layer.weight, fresh(layer))
    assert torch.equal(state["weight_orig"], layer.weight_orig)


def test_memory_of_numpys_is_compared():
    layer = layer_of((6, 4))
    array = np.ones((4, 6), np.float32)
    layer.weight_orig.data = torch.from_numpy(array)
    with torch.no_grad():
        for value in (2.0, 3.0):
            layer(torch.ones(1, 6))
            array[:] = value
            layer(torch.ones(1, 6))
            assert torch.equal(layer.weight, value * layer.weight_mask)


def test_an_array_that_shares_the_memory_goes_on_sharing_it():
    layer = layer_of((6, 4))
    array = layer.weight_orig.detach().numpy()
    with torch.no_grad():
        layer(torch.ones(1, 6))
        layer.weight_orig.fill_(5.0)
        assert (array == 5.0).all()


@pytest.mark.parametrize("images", [1, 32])
@pytest.mark.parametrize("compared", [False, True])
def test_one_element_uncounted_in_channels_last(images, compared):
    layer = nn.Conv2d(16, 32, 3).to(memory_format=torch.channels_last).eval()
    prune.l1_unstructured(layer, "weight", 0.5)
    alias = layer.weight_orig.detach() if compared else None
    x = torch.randn(images, 16, 16, 16).to(memory_format=torch.channels_last)
    with torch.no_grad():
        layer(x)
        first = layer.weight
        layer(x)
        assert layer.weight is first
        layer.weight_orig.data[place_kept(layer)] += 1
        for _ in range(16 if compared and images == 1 else 1):
            layer(x)
        assert torch.equal(layer.weight, fresh(layer))
    assert alias is None or torch.equal(alias, layer.weight_orig)


def test_one_element_uncounted_of_a_tied_weight():
    layers = [nn.Linear(300, 200).eval() for _ in range(2)]
    layers[1].weight = layers[0].weight
    for layer in layers:
        prune.l1_unstructured(layer, "weight", 0.5)
    at, x = place_kept(layers[0]), torch.ones(1, 300)
    with torch.no_grad():
        for _ in range(2):
            for layer in layers:
                layer(x)
            layers[0].weight_orig.data[at] += 1
            for layer in reversed(layers):
                layer(x)
                assert torch.equal(layer.weight, fresh(layer))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_layer_that_moves_what_it_reads(kind):
    layer = kind(20, 30).eval()
    prune.l1_unstructured(layer, "weight_ih_l0", 0.5)
    x = torch.randn(3, 2, 20)
    with torch.no_grad():
        layer(x), layer(x)
        first = layer.weight_ih_l0
        layer(x)
        assert layer.weight_ih_l0 is first
        for edited in ("weight_ih_l0_orig", "weight_ih_l0_mask"):
            getattr(layer, edited).data[:, 0] *= 2
            layer(x)
            assert torch.equal(layer.weight_ih_l0, layer.weight_ih_l0_orig * layer.weight_ih_l0_mask)


@pytest.mark.parametrize(
    "again",
    [
        prune.l1_unstructured,
        lambda m, n, a: prune.global_unstructured([(m, n)], prune.L1Unstructured, amount=a),
    ],
)
def test_pruning_again_copies_nothing(again):
    layer = layer_of((300, 200))
    before = layer.weight_orig.data_ptr()
    with torch.no_grad():
        layer(torch.ones(1, 300))
    again(layer, "weight", 0.5)
    assert layer.weight_orig.data_ptr() == before


def test_first_passes_of_many_threads():
    layer, x = layer_of((300, 200)), torch.ones(1, 300)

    def output(_):
        with torch.no_grad():
            return layer(x)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            layer.weight_orig.data[place_kept(layer)] += 1
            expected = nn.functional.linear(x, fresh(layer), layer.bias)
            assert all(torch.equal(y, expected) for y in pool.map(output, range(8)))


def test_what_layers_read_is_never_a_lazy_copy():
    # An LSTM asks to write to its weights; two threads that end one sharing at once end the process.
    layer = prune.l1_unstructured(nn.LSTM(20, 30).eval(), "weight_ih_l0", 0.5)
    shared = []
    layer.register_forward_pre_hook(lambda m, _: shared.append(torch._C._is_cow_tensor(m.weight_ih_l0)))
    with torch.no_grad():
        layer(torch.randn(3, 2, 20)), layer(torch.randn(3, 2, 20))
    assert torch._C._is_cow_tensor(layer.weight_ih_l0_orig)
    assert shared == [False, False]


@pytest.mark.parametrize("kwargs", [{"fused": True}, {"foreach": True}, {"foreach": False}])
def test_an_optimizer_that_changes_one_element_without_counting_it(kwargs):
    layer = layer_of((300, 200))
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0, **kwargs)
    layer.weight_orig.grad = torch.zeros_like(layer.weight_orig)
    layer.weight_orig.grad[place_kept(layer)] = 1.0
    with torch.no_grad():
        layer(torch.ones(1, 300))
        optimizer.step()
        layer(torch.ones(1, 300))
        assert torch.equal(layer.weight, fresh(layer))


def test_what_other_processes_may_change_is_not_reused():
    layer = layer_of((300, 200))
    with torch.no_grad():
        layer(torch.ones(1, 300))
        alias = layer.share_memory().weight_orig.data
        for _ in range(2):
            layer(torch.ones(1, 300))
            alias[place_kept(layer)] += 1
            layer(torch.ones(1, 300))
            assert torch.equal(layer.weight, fresh(layer))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_is_reused(mode):
    layer = layer_of((300, 200))
    with mode():
        layer(torch.ones(1, 300))
        first = layer.weight
        layer(torch.ones(1, 300))
        assert layer.weight is first


def test_gradients_after_evaluation():
    layer = layer_of((6, 4))
    with torch.no_grad():
        layer(torch.ones(1, 6))
    layer(torch.ones(1, 6)).sum().backward()
    assert torch.equal(layer.weight_orig.grad, layer.weight_mask)


def test_gradients_after_inference():
    layer = layer_of((6, 4))
    with torch.inference_mode():
        layer(torch.ones(1, 6))
    with torch.no_grad():
        layer(torch.ones(1, 6))
    layer.train()(torch.ones(1, 6)).sum().backward()
    assert torch.equal(layer.weight_orig.grad, layer.weight_mask)


def test_it_is_not_reused_in_training():
    layer = layer_of((6, 4)).train()
    with torch.no_grad():
        layer(torch.ones(1, 6))
        first = layer.weight
        layer(torch.ones(1, 6))
        assert layer.weight is not first


def test_a_weight_set_by_hand_is_set_again():
    layer = layer_of((6, 4))
    with torch.no_grad():
        layer(torch.ones(1, 6))
        layer.weight = torch.zeros(4, 6)
        layer(torch.ones(1, 6))
        assert torch.equal(layer.weight, fresh(layer))


def test_a_product_edited_by_hand_is_computed_again():
    layer = layer_of((6, 4))
    with torch.no_grad():
        layer(torch.ones(1, 6))
        layer.weight.zero_()
        layer(torch.ones(1, 6))
        assert torch.equal(layer.weight, fresh(layer))


def test_copies_do_not_share_what_is_kept():
    layer = layer_of((6, 4))
    with torch.no_grad():
        layer(torch.ones(1, 6))
        copied = copy.deepcopy(layer)
        copied(torch.ones(1, 6))
        copied.weight_orig.zero_()
        copied(torch.ones(1, 6))
        layer(torch.ones(1, 6))
        assert layer.weight.any()
        assert not copied.weight.any()
