"""A masked forward pass in evaluation reuses its product, and is never stale."""

import copy
from concurrent.futures import ThreadPoolExecutor

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


EDITS = {
    "optimizer": optimizer_step,
    "load": load,
    "assign": assign,
    "in_place": lambda m: m.weight_orig.mul_(2),
    "one_element": lambda m: m.weight_orig[0, 0].add_(1),
    "data": lambda m: setattr(m.weight_orig, "data", torch.ones_like(m.weight_orig)),
    "data_twice": data_twice,
    "double": lambda m: m.double(),
    "half_and_back": lambda m: m.half().float(),
    "mask_in_place": lambda m: m.weight_mask.fill_(1),
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


STEPPED = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (torch.optim.Adam, {"lr": 0.1}),
    (torch.optim.AdamW, {"lr": 0.1}),
]
KINDS = [{}, {"foreach": True}, {"foreach": False}, {"fused": True}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(("optimizer", "arguments"), STEPPED, ids=["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("cleared", [False, True])
def test_every_step_of_an_optimizer_is_seen(optimizer, arguments, kind, cleared):
    layer, x = layer_of((6, 4)), torch.ones(1, 6)
    stepper = optimizer(layer.parameters(), **arguments, **kind)
    for _ in range(3):
        evaluate(layer, x)
        layer(x).sum().backward()
        evaluate(layer, x)
        before = layer.weight
        stepper.step()
        if cleared:
            stepper.zero_grad()
        evaluate(layer, x)
        assert not torch.equal(layer.weight, before)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(("optimizer", "arguments"), STEPPED, ids=["SGD", "Adam", "AdamW"])
def test_a_step_with_gradients_given_by_hand_is_seen(optimizer, arguments, kind):
    layer, x = layer_of((6, 4)), torch.ones(1, 6)
    stepper = optimizer(layer.parameters(), **arguments, **kind)
    for _ in range(3):
        evaluate(layer, x)
        before = layer.weight
        layer.weight_orig.grad = torch.ones(4, 6)
        stepper.step()
        evaluate(layer, x)
        assert not torch.equal(layer.weight, before)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_step_by_way_of_another_layer_that_shares_the_weight_is_seen(kind):
    layers = [nn.Linear(6, 4).eval() for _ in range(2)]
    layers[1].weight = layers[0].weight
    for layer in layers:
        prune.l1_unstructured(layer, "weight", 0.5)
    stepper, x = torch.optim.Adam(layers[0].parameters(), lr=0.1, **kind), torch.ones(1, 6)
    for _ in range(2):
        evaluate(layers[1], x)
        layers[0](x).sum().backward()
        stepper.step()
        stepper.zero_grad()
        evaluate(layers[1], x)


def evaluate(layer, x):
    """Run a forward pass twice, and assert that neither used a stale weight."""
    with torch.no_grad():
        for _ in range(2):
            layer(x)
            assert torch.equal(layer.weight, fresh(layer))


def test_it_is_reused_once_gradients_are_cleared():
    layer, x = layer_of((6, 4)), torch.ones(1, 6)
    layer(x).sum().backward()
    evaluate(layer, x)
    layer.zero_grad()
    evaluate(layer, x)
    first = layer.weight
    evaluate(layer, x)
    assert layer.weight is first


def test_an_address_cannot_come_back():
    layer, x = layer_of((300, 200)), torch.ones(1, 300)
    evaluate(layer, x)
    for value in range(20):
        layer.weight_orig.data = torch.full((200, 300), float(value))
        evaluate(layer, x)


def test_an_array_that_shares_the_memory_goes_on_sharing_it():
    layer = layer_of((6, 4))
    array = layer.weight_orig.detach().numpy()
    with torch.no_grad():
        layer(torch.ones(1, 6))
        layer.weight_orig.fill_(5.0)
        assert (array == 5.0).all()


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
            getattr(layer, edited)[:, 0] *= 2
            layer(x)
            assert torch.equal(layer.weight_ih_l0, layer.weight_ih_l0_orig * layer.weight_ih_l0_mask)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bfloat16, torch.float32, torch.int8])
def test_weights_of_every_dtype_are_reused(dtype):
    module = nn.Module()
    module.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3).to(dtype), requires_grad=False)
    module.forward = lambda: module.weight
    prune.l1_unstructured(module.eval(), "weight", 2)
    with torch.no_grad():
        first = module()
        assert module() is first
        module.weight_orig.copy_(torch.full((2, 3), 3.0).to(dtype))
        assert module().float().tolist() == [[0, 0, 3], [3, 3, 3]]


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
            with torch.no_grad():
                layer.weight_orig[:, 0] += 1
            expected = nn.functional.linear(x, fresh(layer), layer.bias)
            assert all(torch.equal(y, expected) for y in pool.map(output, range(8)))


def test_what_other_processes_may_change_is_not_reused():
    layer = layer_of((300, 200))
    with torch.no_grad():
        layer(torch.ones(1, 300))
        alias = layer.share_memory().weight_orig.data
        for _ in range(2):
            layer(torch.ones(1, 300))
            alias += 1
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
