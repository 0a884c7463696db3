"""torch's own module as the oracle: the same steps give the same modules, outputs and gradients."""

import itertools
import pickle

import pytest
import torch
import torch.nn.utils.prune as theirs

import prunescope.prune as ours
from tests.support.layers import LAYERS, STEPS, STRUCTURED, assert_same, output, twins

ALONE = [
    (kind, step) for kind in LAYERS for step in STEPS if not (kind == "linear_bias" and step in STRUCTURED)
]


def run(prune, module, name, steps, seed=7):
    torch.manual_seed(seed)
    for step in steps:
        STEPS[step](prune, module, name)


@pytest.mark.parametrize(("kind", "step"), ALONE)
def test_one_step(kind, step):
    a, b, name, inputs = twins(kind)
    run(theirs, a, name, [step])
    run(ours, b, name, [step])
    assert_same(a, b)
    for module in (a, b):
        output(module, inputs).sum().backward()
    assert torch.equal(output(a, inputs), output(b, inputs))
    assert torch.equal(getattr(a, name + "_orig").grad, getattr(b, name + "_orig").grad)


@pytest.mark.parametrize("kind", ["linear", "conv2d", "lstm"])
def test_two_steps(kind):
    for steps in itertools.product(STEPS, repeat=2):
        a, b, name, inputs = twins(kind)
        run(theirs, a, name, steps)
        run(ours, b, name, steps)
        assert_same(a, b)
        assert torch.equal(output(a, inputs), output(b, inputs))


def test_three_steps():
    for steps in itertools.product(["l1", "random", "ln2", "random_columns", "custom", "global"], repeat=3):
        a, b, name, _ = twins("conv2d")
        run(theirs, a, name, steps)
        run(ours, b, name, steps)
        assert_same(a, b)


@pytest.mark.parametrize("kind", LAYERS)
def test_remove_then_prune_again(kind):
    a, b, name, inputs = twins(kind)
    for prune, module in ((theirs, a), (ours, b)):
        run(prune, module, name, ["l1", "random"])
        prune.remove(module, name)
    assert torch.equal(getattr(a, name), getattr(b, name))
    assert isinstance(getattr(b, name), torch.nn.Parameter)
    # Not by magnitude: the zeros that remove() left are ties, where torch's choice is its own.
    run(theirs, a, name, ["random"])
    run(ours, b, name, ["random"])
    assert_same(a, b)
    assert torch.equal(output(a, inputs), output(b, inputs))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("step", ["l1", "random"])
def test_training_with_momentum(kind, step):
    a, b, name, inputs = twins(kind)
    for prune, module in ((theirs, a), (ours, b)):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        for round_ in range(3):
            run(prune, module, name, [step], seed=round_)
            for _ in range(2):
                optimizer.zero_grad()
                output(module, inputs).square().sum().backward()
                optimizer.step()
        prune.remove(module, name)
    assert torch.equal(getattr(a, name), getattr(b, name))
    assert torch.equal(output(a, inputs), output(b, inputs))


BAD = {
    "amount_string": lambda p, m: p.l1_unstructured(m, "weight", "half"),
    "amount_above_one": lambda p, m: p.l1_unstructured(m, "weight", 1.5),
    "amount_negative": lambda p, m: p.random_unstructured(m, "weight", -1),
    "amount_too_many": lambda p, m: p.l1_unstructured(m, "weight", 10_000),
    "channels_too_many": lambda p, m: p.random_structured(m, "weight", 10_000, dim=0),
    "norm_name": lambda p, m: p.ln_structured(m, "weight", 1, n="abc", dim=0),
    "norm_of_rows": lambda p, m: p.ln_structured(m, "weight", 1, n="nuc", dim=0),
    "dim_above": lambda p, m: p.ln_structured(m, "weight", 1, n=2, dim=9),
    "dim_below": lambda p, m: p.ln_structured(m, "weight", 1, n=2, dim=-9),
    "structured_bias": lambda p, m: p.ln_structured(m, "bias", 1, n=2, dim=0),
    "random_structured_bias": lambda p, m: p.random_structured(m, "bias", 1, dim=0),
    "scores_shape": lambda p, m: p.l1_unstructured(m, "weight", 1, importance_scores=torch.ones(2)),
    "no_such_name": lambda p, m: p.l1_unstructured(m, "wieght", 1),
    "no_bias": lambda p, m: p.l1_unstructured(torch.nn.Linear(2, 2, bias=False), "bias", 1),
    "mask_shape": lambda p, m: p.custom_from_mask(m, "weight", torch.ones(2)),
    "not_pruned": lambda p, m: p.remove(m, "weight"),
    "global_type": lambda p, m: p.global_unstructured([(m, "weight")], p.LnStructured, amount=1, n=2),
    "global_not_iterable": lambda p, m: p.global_unstructured(3, p.L1Unstructured, amount=1),
    "global_scores_type": lambda p, m: p.global_unstructured(
        [(m, "weight")], p.L1Unstructured, importance_scores=[1], amount=1
    ),
    "container_type": lambda p, m: p.PruningContainer(p.L1Unstructured(1)).add_pruning_method(10),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_are_of_torchs_type_or_more_specific(case):
    def error(prune):
        with pytest.raises(
            (TypeError, ValueError, LookupError, AttributeError, AssertionError, RuntimeError)
        ) as caught:
            BAD[case](prune, torch.nn.Linear(4, 3))
        return caught.type

    if case == "container_type":
        with pytest.raises(TypeError):
            BAD[case](ours, None)
    else:
        assert issubclass(error(ours), error(theirs))


NAMES = [
    *("BasePruningMethod", "PruningContainer", "Identity", "RandomUnstructured", "L1Unstructured"),
    *("RandomStructured", "LnStructured", "CustomFromMask", "identity", "random_unstructured"),
    *("l1_unstructured", "random_structured", "ln_structured", "global_unstructured", "custom_from_mask"),
    *("remove", "is_pruned", "_validate_pruning_amount_init", "_validate_pruning_amount", "_compute_norm"),
    *("_validate_structured_pruning", "_compute_nparams_toprune", "_validate_pruning_dim"),
]


@pytest.mark.parametrize("module", [theirs, ours])
def test_the_public_names_are_there(module):
    for name in NAMES:
        assert hasattr(module, name), name


# Living together: what one module pruned, the other recognises, continues and removes.


@pytest.mark.parametrize(("first", "second"), [(theirs, ours), (ours, theirs)])
@pytest.mark.parametrize("steps", [["l1"], ["l1", "ln2"]])
@pytest.mark.parametrize("kind", ["linear", "conv2d", "lstm"])
def test_one_continues_and_removes_the_others_work(first, second, steps, kind):
    a, b, name, inputs = twins(kind)
    run(theirs, a, name, [*steps, "random", "random_rows"])
    run(first, b, name, steps, seed=7)
    assert second.is_pruned(b)
    torch.manual_seed(7)
    STEPS["random"](second, b, name)
    STEPS["random_rows"](second, b, name)
    assert torch.equal(getattr(a, name + "_mask"), getattr(b, name + "_mask"))
    assert torch.equal(output(a, inputs), output(b, inputs))
    second.remove(b, name)
    theirs.remove(a, name)
    assert not first.is_pruned(b)
    assert torch.equal(getattr(a, name), getattr(b, name))


def test_classes_count_as_each_other():
    for name in ("BasePruningMethod", "PruningContainer", "L1Unstructured", "LnStructured", "CustomFromMask"):
        assert issubclass(getattr(ours, name), getattr(theirs, name))
        assert issubclass(getattr(theirs, name), getattr(ours, name))
    assert isinstance(ours.L1Unstructured(1), theirs.L1Unstructured)
    assert not isinstance(ours.L1Unstructured(1), theirs.RandomUnstructured)
    assert not isinstance(theirs.L1Unstructured(1), ours.LnStructured)
    assert not isinstance(object(), ours.BasePruningMethod)


# Methods on their own, as torch's suite calls them.


@pytest.mark.parametrize("prune", [theirs, ours])
def test_compute_mask_alone_counts_every_unit(prune):
    t = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    default = torch.tensor([[0.0, 1, 1, 1], [1, 1, 1, 1]])
    mask = prune.L1Unstructured(2).compute_mask(t, default)
    assert mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("prune", [theirs, ours])
def test_a_container_sees_what_is_left(prune):
    container = prune.PruningContainer()
    container._tensor_name = "test"
    t = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    default = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 1]])
    expected = [
        (prune.L1Unstructured(2), [[0, 0, 1, 0], [1, 1, 0, 1]]),
        (prune.LnStructured(1, n=2, dim=0), [[0, 0, 0, 0], [1, 1, 0, 1]]),
        (prune.LnStructured(1, n=2, dim=1), [[0, 1, 1, 0], [0, 1, 0, 1]]),
    ]
    for method, mask in expected:
        method._tensor_name = "test"
        container.add_pruning_method(method)
        computed = container.compute_mask(t, default)
        assert computed.dtype == torch.float32
        assert computed.tolist() == mask
    other = prune.L1Unstructured(2)
    other._tensor_name = "another"
    with pytest.raises(ValueError, match="test"):
        container.add_pruning_method(other)


def test_compute_mask_is_what_apply_calls(monkeypatch):
    layer = torch.nn.Linear(5, 2)
    wanted = torch.ones(2, 5)
    wanted[1, 0] = wanted[0, 3] = 0
    monkeypatch.setattr(ours.RandomUnstructured, "compute_mask", lambda self, t, default_mask: wanted)
    ours.random_unstructured(layer, "weight", amount=0.9)
    assert torch.equal(layer.weight_mask, wanted)
    layer(torch.ones(1, 5)).sum().backward()
    assert torch.equal(layer.weight_orig.grad, wanted)


class EveryOther(ours.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[::2] = 0
        return mask


class TheirEveryOther(theirs.BasePruningMethod):
    PRUNING_TYPE = "unstructured"
    compute_mask = EveryOther.compute_mask


class Halving(ours.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        return default_mask * 0.5


class TheirHalving(theirs.BasePruningMethod):
    PRUNING_TYPE = "unstructured"
    compute_mask = Halving.compute_mask


class Above(ours.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def __init__(self, threshold):
        self.threshold = threshold

    def compute_mask(self, t, default_mask):
        return torch.abs(t) > self.threshold


class TheirAbove(theirs.BasePruningMethod):
    PRUNING_TYPE = "unstructured"
    __init__ = Above.__init__
    compute_mask = Above.compute_mask


@pytest.mark.parametrize(
    ("mine", "theirs_", "kwargs"),
    [(EveryOther, TheirEveryOther, {}), (Halving, TheirHalving, {}), (Above, TheirAbove, {"threshold": 0.2})],
)
def test_a_persons_own_method(mine, theirs_, kwargs):
    a, b, name, inputs = twins("linear")
    for method, module in ((theirs_, a), (mine, b)):
        method.apply(module, name, **kwargs)
    for key, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[key])
        assert value.dtype == b.state_dict()[key].dtype
    assert torch.equal(output(a, inputs), output(b, inputs))
    if mine is Halving:
        return  # Nothing is left at 1, so torch has nothing to prune further.
    for method, prune, module in ((theirs_, theirs, a), (mine, ours, b)):
        prune.l1_unstructured(module, name, 2)
        method.apply(module, name, **kwargs)
    assert torch.equal(a.weight_mask.float(), b.weight_mask.float())
    assert torch.equal(output(a, inputs), output(b, inputs))


def test_a_persons_own_method_globally():
    nets = [torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    for net, prune, method in ((nets[0], theirs, TheirAbove), (nets[1], ours, Above)):
        prune.global_unstructured([(net[0], "weight"), (net[1], "weight")], method, threshold=0.2)
    for a, b in zip(nets[0], nets[1], strict=True):
        assert_same(a, b)


@pytest.mark.filterwarnings("ignore:global pruning left almost nothing")
@pytest.mark.parametrize("method", ["L1Unstructured", "RandomUnstructured"])
@pytest.mark.parametrize("amount", [0.5, 7, 0, 1.0])
def test_global_rounds(method, amount):
    torch.manual_seed(0)
    nets = [torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    for net, prune in zip(nets, (theirs, ours), strict=True):
        torch.manual_seed(3)
        prune.l1_unstructured(net[0], "weight", 3)
        for _ in range(2 if isinstance(amount, int) else 3):
            pairs = ((net[0], "weight"), (net[1], "weight"), (net[1], "bias"))
            prune.global_unstructured(pairs, getattr(prune, method), amount=amount)
    for a, b in zip(nets[0], nets[1], strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("kind", LAYERS)
def test_pickle(kind):
    _, module, name, inputs = twins(kind)
    run(ours, module, name, ["l1", "random"])
    loaded = pickle.loads(pickle.dumps(module))
    assert type(loaded) is type(module)
    assert_same(module, loaded)
    assert torch.equal(output(loaded, inputs), output(module, inputs))


def test_the_parameter_is_the_same_object_throughout():
    layer = torch.nn.Linear(5, 2)
    weight = layer.weight
    ours.random_unstructured(layer, "weight", 0.9)
    assert layer.weight_orig is weight
    ours.remove(layer, "weight")
    assert layer.weight is weight


def test_recurrent_layers_hear_of_it():
    lstm = torch.nn.LSTM(8, 8)
    ours.l1_unstructured(lstm, "weight_ih_l0", 0.5)
    assert sum(isinstance(p, torch.nn.Parameter) for p in lstm._flat_weights) == 3
    ours.remove(lstm, "weight_ih_l0")
    assert sum(isinstance(p, torch.nn.Parameter) for p in lstm._flat_weights) == 4
