"""The explorer as notebooks display it and code uses it: a state, and the widgets that show it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ipywidgets as widgets
import traitlets
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.core.knobs import Dim, plain_dim
from prunescope.core.preview import Preview
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.explorer.closing import close_tree
from prunescope.explorer.fields import SpecField
from prunescope.explorer.live.compare import measured_now, worth_now
from prunescope.explorer.outputs import do_not_keep, keep_while_shown, let_go
from prunescope.explorer.panels import PANELS
from prunescope.explorer.screen import Screen
from prunescope.explorer.state import actions
from prunescope.explorer.state.catalogue import Catalogue
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.export import code, plan, pruned_model, save
from prunescope.export.compact import CompactModel, compact_model
from prunescope.figures import View, sentence
from prunescope.measure import Accuracy, Comparison, Costs, Effect, Metric, Metrics
from prunescope.measure.compare import Choice, Comparing, chosen, compare
from prunescope.measure.costs.measuring import measure
from prunescope.measure.states import effect, metric_name
from prunescope.network import Allocation, SensitivityTable, allocate, sensitivity
from prunescope.network.asked import alone
from prunescope.prune import Norm
from prunescope.recover import Recipe, fine_tune, reestimate_batchnorm, write_to_model
from prunescope.session.history import History

Kind = TypeVar("Kind", Accuracy, Metrics)


class Explorer(widgets.VBox):  # type: ignore[misc]
    """The explorer of one model, or of a choice of models: controls, live pictures, numbers.

    Controls and attributes share one state: moving a slider changes `amount`, and ``explorer.amount = 0.5``
    moves the slider. A request that cannot be met changes nothing and shows one sentence beside the control;
    in code it raises.

    Args:
        catalogue: What can be explored.
        hide: What to hide, some of `prunescope.explorer.state.link.HIDEABLE`.
        lock: Controls to show but disable.
        **spec: Fields of `PruneSpec` to start with: layer, method, amount, n, dim, seed.

    Raises:
        TypeError: A keyword is unknown.
        RequestError: The model has nothing to prune, or a value is not possible.

    Attributes:
        state: The state behind the widgets; observe its ``snapshot`` to follow every change.
        screen: The widgets that show it.

    Example:
        >>> from torch import nn
        >>> from prunescope import explore
        >>> explorer = explore(nn.Linear(4, 3), amount=0.5)
        >>> explorer.preview.pruned_units
        6
        >>> explorer.amount = 2
        >>> explorer.preview.pruned_units
        2
        >>> explorer.close()
    """

    def __init__(
        self, catalogue: Catalogue, *, hide: Iterable[str] = (), lock: Iterable[str] = (), **spec: Any
    ) -> None:
        state = ExplorerState(catalogue, [panel.name for panel in PANELS], hide=hide, lock=lock, **spec)
        super().__init__()
        self.state = state
        self.screen = Screen(state)
        self.children = [self.screen.widget]
        self.add_class("prunescope")
        try:
            with state.lock:
                state.tasks.measure()
        except BaseException:  # Where no event loop runs the data are read here.
            self.close()
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an existing attribute; refuse any other name, and suggest the nearest."""
        if not name.startswith("_") and name not in ("state", "screen") and not hasattr(type(self), name):
            near = get_close_matches(name, dir(self), 1)
            hint = f": did you mean {near[0]!r}?" if near else "."
            raise AttributeError(f"an Explorer has no attribute {name!r}{hint}")
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """List our own names only: a box of widgets has sixty more."""
        return sorted(name for name in (*vars(Explorer), "state", "screen") if not name.startswith("_"))

    def _repr_mimebundle_(self, **_how: Any) -> dict[str, Any]:
        """Return what a notebook displays: the widgets where there is a kernel, else the last picture.

        A saved page, a hosting site's preview and nbconvert have no kernel: they show a still picture and its
        sentence.
        """
        bundle: dict[str, Any] = super()._repr_mimebundle_()
        keep_while_shown(self)
        with self.state.lock:
            return {**bundle, "text/plain": sentence(self.preview), "image/png": self.screen.canvas.still()}

    @traitlets.observe("comm")
    def _comm_changed(self, change: Any) -> None:
        super()._comm_changed(change)
        if self.comm is not None:
            do_not_keep(self)

    def observe(
        self, handler: Callable[..., object], names: Any = traitlets.All, type: str = "change"
    ) -> None:
        """Call ``handler`` on changes; those of ``"snapshot"`` are the state's."""
        if names == "snapshot":
            self.state.observe(handler, names, type)
        else:
            super().observe(handler, names, type)

    # The spec, and what it does.

    def request(self, **changes: Any) -> RequestError | None:
        """Request changes, all of them or none, as the controls and the attributes do.

        Args:
            **changes: Fields of `PruneSpec`; ``scope``; ``model`` where there is a choice of models;
                ``view``, a `prunescope.figures.View` of what the pictures show; ``comparing``, a
                `prunescope.measure.compare.Comparing` of what is compared with what; ``front``, the name of
                the panel to bring to the front; ``exporting``, the file whose text is shown.

        Returns:
            None, or why the request was refused; nothing has changed then, and the sentence is shown.

        Raises:
            TypeError: A keyword is unknown.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 3))
            >>> explorer.request(amount=1.5)
            RequestError('`amount` must be a float in [0, 1] or a count from 0 to 12 (weights), got 1.5.')
            >>> explorer.amount
            0.3
            >>> explorer.close()
        """
        return self.state.request(**changes)

    def ask(self, **changes: Any) -> None:
        """Request changes as `request` does, and raise if they are refused.

        Raises:
            RequestError: The request was refused; nothing has changed.
        """
        _raise(self.request(**changes))

    layer = SpecField[str, str](
        'Full name of the parameter shown; set it to show another (``"fc"`` means its weight).'
    )
    method = SpecField[str, str]("Pruning method, by torch's function name.")
    amount = SpecField[int | float, int | float]("How much to prune: a float is a fraction, an int a count.")
    n = SpecField[Norm, Norm]('Order of the norm: a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``.')
    group = SpecField[int | None, int | None]("Elements of a group; None: all along ``dim``.")
    seed = SpecField[int, int]("Seed of the random methods; set it for another draw.")
    criterion = SpecField[str, str](
        'Importance criterion: ``"weight"``, ``"taylor"`` …; setting it computes its scores first.'
    )
    keep_channels = SpecField[tuple[int, ...], object](
        """Channels kept by hand; set it to whole numbers, or text like ``"3, 7-9"``.

        They are channels of this layer along `dim`; another layer or `dim` clears them.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 3), method="ln_structured", amount=0)
            >>> explorer.prune_channels = [2]
            >>> explorer.preview.mask.all(1)
            tensor([ True,  True, False])
            >>> explorer.close()
        """
    )
    prune_channels = SpecField[tuple[int, ...], object]("Channels pruned whole by hand.")

    @property
    def scope(self) -> str:
        """Which layers the method works on at once; set it to ``"layer"``, ``"group:NAME"``, ``"alike"`` or
        ``"global"``.

        A group is a module such as ``group:layer1``, a kind of layer such as ``group:Conv2d``, or full names
        with commas between.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> net = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
            >>> explorer = explore(net, method="ln_structured", amount=0.5)
            >>> explorer.scope = "alike"
            >>> explorer.apply()
            >>> explorer.history.done[0].title
            'ln_structured(amount=0.5, n=2, dim=0) on 2 layers alike'
            >>> explorer.close()
        """
        return self.snapshot.scope.text

    @scope.setter
    def scope(self, scope: str) -> None:
        self.ask(scope=scope)

    @property
    def dim(self) -> Dim:
        """The axis that numbers the channels, or the axis or axes that groups run along; set it for another.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(8, 3), method="grouped_unstructured", amount=0.5, group=4)
            >>> explorer.dim, explorer.preview.mask.unflatten(1, (2, 4)).sum(2).tolist()
            (1, [[2, 2], [2, 2], [2, 2]])
            >>> explorer.close()
        """
        return plain_dim(self.spec.dim)

    @dim.setter
    def dim(self, dim: Dim) -> None:
        self.ask(dim=dim)

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot: everything that is shown."""
        return self.state.snapshot

    @property
    def spec(self) -> PruneSpec:
        """The current spec."""
        return self.state.spec

    @property
    def preview(self) -> Preview:
        """What the spec would do: mask, norms, threshold, counts."""
        return self.state.preview

    @property
    def view(self) -> View:
        """What the pictures show; set it to show something else."""
        return self.snapshot.view

    @view.setter
    def view(self, view: View) -> None:
        self.ask(view=view)

    @property
    def model(self) -> str:
        """Key of the current model; set it to show another."""
        return self.snapshot.model

    @model.setter
    def model(self, model: str) -> None:
        self.ask(model=model)

    @property
    def layers(self) -> Mapping[str, PrunableTensor]:
        """Every parameter that can be pruned, biases included, by full name: kind, shape, axes, weight.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Sequential(nn.Linear(4, 3)))
            >>> {name: (layer.kind, layer.shape, layer.axes) for name, layer in explorer.layers.items()}
            {'0.weight': ('Linear', (3, 4), ('output features', 'input features')), '0.bias': ('Linear', (3,), ('output features',))}
            >>> explorer.close()
        """  # noqa: E501
        return self.state.session.tensors

    @property
    def query(self) -> str:
        """The whole state as the query of a link: ``"model=cnn&amount=0.3"`` …"""
        return self.state.query

    def open_link(self, query: str) -> RequestError | None:
        """Open the state that a link carries, all of it or nothing.

        Args:
            query: What follows the ``?`` of the link; unknown parameters are ignored.

        Returns:
            None, or why it was refused; nothing has changed then, and the sentence is shown.
        """
        return self.state.open_link(query)

    # Metrics and costs.

    @property
    def metric(self) -> Metric | None:
        """What the model is judged by before and after the preview, measured now if need be; or None.

        It is held-out accuracy where there is `data`, and what `evaluate` returns where there is that.

        Raises:
            RequestError: The model cannot be run on the data; or `evaluate` raises, does not answer, or not
                with numbers.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> def zeros(model):
            ...     return float((model.weight == 0).sum())
            >>> explorer = explore(nn.Linear(10, 10), method="l1_unstructured", amount=0.3, evaluate=zeros)
            >>> explorer.metric.before.values, explorer.metric.after.values
            ({'zeros': 0.0}, {'zeros': 30.0})
            >>> explorer.close()
        """
        with self.state.lock:
            session = self.state.session
            name = metric_name(session.source)
            if not name:
                return None
            before, after = (
                worth_now(session, what, self.state.tasks.runner) for what in (None, self.preview)
            )
            return Metric(name, before, after)

    @property
    def accuracy(self) -> tuple[Accuracy, Accuracy] | None:
        """Held-out accuracy before and after the preview, as `metric` measures it; None without data.

        Raises:
            RequestError: The model cannot be run on the data.
        """
        return self._metric_of(Accuracy)

    @property
    def numbers(self) -> tuple[Metrics, Metrics] | None:
        """What `evaluate` says before and after the preview, as `metric` asks it; None without it.

        Raises:
            RequestError: It raises, or does not answer, or not with numbers.
        """
        return self._metric_of(Metrics)

    def _metric_of(self, kind: type[Kind]) -> tuple[Kind, Kind] | None:
        metric = self.metric
        if metric is None or not isinstance(metric.before, kind) or not isinstance(metric.after, kind):
            return None
        return metric.before, metric.after

    @property
    def effect(self) -> Effect | None:
        """How the steps and the preview change the model's answers to the data; None without data.

        Raises:
            RequestError: The model cannot be run on the data.
        """
        with self.state.lock:
            return None if self.accuracy is None else effect(self.state.session, self.preview)

    @property
    def costs(self) -> Costs:
        """The cost of the model with the steps and the preview, measured now: files, FLOPs, residual output.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(100, 10), amount=0.9)
            >>> explorer.costs.nonzero, explorer.costs.files.text
            (110, '4.1 → 8.1 → 4.1 KiB')
            >>> explorer.close()
        """
        with self.state.lock:
            *_, costs = measure(self.state.session, self.preview)
            return costs

    # Steps.

    def sensitivity(self, **how: Any) -> SensitivityTable:
        """Measure how much of the metric each layer loses at each amount, with the steps applied.

        Args:
            **how: As for `prunescope.sensitivity`, without model and data; how a layer is pruned is as
                shown unless it is given.

        Raises:
            RequestError: There is nothing to measure on, or a value is not possible.
        """
        with self.state.lock:
            return sensitivity(self.state.session, **{**alone(self.spec), **how})

    def allocate(self, target: float | None = 0.5, **goal: Any) -> Allocation:
        """Find how much to prune of each layer to meet a goal; see `prunescope.allocate`.

        Args:
            target: Share of the goal's ``unit`` that is to be pruned in all, in (0, 1).
            **goal: As for `prunescope.allocate`; how a layer is pruned is as shown unless it is
                given.

        Raises:
            RequestError: No allocation meets the goal, or a value is not possible.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)))
            >>> explorer.apply(explorer.allocate(0.5, rule="uniform"))
            >>> explorer.history.done[0].where, explorer.preview.sparsity
            ('2 layers', 0.5)
            >>> explorer.close()
        """
        with self.state.lock:
            return allocate(self.state.session, target, **{**alone(self.spec), **goal})

    def apply(self, allocation: Allocation | None = None) -> None:
        """Apply the preview as a step; the amount returns to 0, and the next one refers to what remains.

        Args:
            allocation: What `allocate` returned: all of its layers become one step, in place of the preview.

        Raises:
            RequestError: The amount, or the allocation, prunes nothing.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 4, bias=False), amount=0.5)
            >>> explorer.apply()
            >>> explorer.amount = 0.5
            >>> explorer.apply()
            >>> [step.share_after for step in explorer.history.done]
            [0.5, 0.75]
            >>> explorer.undo()
            >>> explorer.amount, explorer.preview.pruned_weights
            (0.5, 12)
            >>> explorer.close()
        """
        if allocation is not None:
            self._act(partial(actions.apply_allocation, allocation=allocation), "goal")
            return
        self._act(actions.apply, "steps")

    def silence(self) -> None:
        """Mask the bias, and the batch-norm's scale and shift, of the channels that the steps have pruned.

        A structured step prunes a channel's weights; bias and batch-norm shift remain as residual output.
        They are masked as a step of their own.

        Raises:
            RequestError: There is no residual output, or it cannot be measured or masked.
        """
        self._act(actions.silence, "silence")

    def prune_units(self, units: int | Iterable[int] | str) -> None:
        """Prune hidden units of the recurrent layer shown, or heads of the attention, whole, as one step.

        A hidden unit has rows in every gate of both matrices and the biases, a head in queries, keys and
        values (all queries first, as torch and timm lay them out).

        Args:
            units: Which, such as ``[0, 5]`` or ``"0, 5-7"``; a count is so many of the lowest L2 norm.

        Raises:
            RequestError: The layer has no such units.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.LSTM(3, 5))
            >>> explorer.prune_units([1])
            >>> explorer.history.done[0].title, sorted(explorer.history.masks())
            ('1 hidden unit of the model (1)', ['bias_hh_l0', 'bias_ih_l0', 'weight_hh_l0', 'weight_ih_l0'])
            >>> explorer.close()
        """
        chosen = units if isinstance(units, int | str) else list(units)
        self._act(partial(actions.prune_units, units=chosen), "units")

    def undo(self) -> None:
        """Undo the last step; its settings become the preview again.

        Raises:
            RequestError: There is no step to undo.
        """
        self._act(actions.undo, "steps")

    def redo(self) -> None:
        """Redo the step that was undone last.

        Raises:
            RequestError: No step was undone.
        """
        self._act(actions.redo, "steps")

    def reset(self) -> None:
        """Go back to the original model; `redo` brings the steps back."""
        self._act(actions.reset, "steps")

    def jump(self, position: int) -> None:
        """Go to the state with the first ``position`` steps applied.

        Raises:
            RequestError: There are fewer steps.
        """
        self._act(partial(actions.jump, position=position), "steps")

    # Winning back what that cost.

    def reestimate_batchnorm(self, train: Any = None, *, examples: int = 2048, progress: bool = True) -> None:
        """Re-estimate the means and variances of the batch-norms, with the steps applied, as a step.

        It takes a few forward passes and no labels. The model itself is not written.

        Args:
            train: What to run it on, as `explore` takes ``data``; None means what `explore` got as ``train``.
            examples: How many are run at most.
            progress: Whether a bar shows how far it is.

        Raises:
            RequestError: There is nothing to run it on, no batch-norm, or the model cannot be run.
        """
        how = {"train": train, "examples": examples, "progress": progress}
        self._act(partial(actions.recover, work=partial(reestimate_batchnorm, **how)), "train")

    def fine_tune(self, train: Any = None, *, progress: bool = True, **recipe: Any) -> None:
        """Train a copy of the model with the steps applied, masks kept, as a step; returns at its end.

        The new weights are the step: `undo` takes them back, `save` and `pruned_model` carry them. Nothing is
        trained on ``data``, and the model itself is not written.

        Args:
            train: What to train on, as `explore` takes ``data``; None means what `explore` got as ``train``.
            progress: Whether a bar shows how far it is.
            **recipe: As for `prunescope.recover.Recipe`: ``optimizer``, ``learning_rate``, ``epochs`` or
                ``seconds``, ``rates``, ``pruning``, ``batch``, ``seed``.

        Raises:
            RequestError: There is nothing to train on, or it fails; all is as it was.
            TypeError: An unknown keyword.

        Example:
            >>> import torch
            >>> from torch import nn
            >>> from prunescope import explore
            >>> inputs = torch.randn(64, 4)
            >>> explorer = explore(nn.Linear(4, 2), amount=0.5, train=(inputs, (inputs[:, 0] > 0).long()))
            >>> explorer.apply()
            >>> explorer.fine_tune(epochs=2, progress=False)
            >>> [step.title for step in explorer.history.done][1]
            "fine_tune(optimizer='AdamW', learning_rate=0.003, epochs=2)"
            >>> int((explorer.pruned_model(permanent=True).weight == 0).sum())
            4
            >>> explorer.close()
        """
        Recipe(**recipe)  # What is no keyword of it is a slip of the pen, and raises as one.
        work = partial(fine_tune, train=train, progress=progress, **recipe)
        self._act(partial(actions.recover, work=work), "train")

    def reload(self, model: nn.Module) -> None:
        """Explore ``model``, retrained and of the same architecture, under the same steps, plans and view.

        Raises:
            RequestError: A shape or a name differs, or a step cannot be met; all is as it was.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 3), amount=0.5)
            >>> explorer.apply()
            >>> explorer.reload(nn.Linear(4, 3))
            >>> explorer.preview.sparsity
            0.5
            >>> explorer.reload(nn.Linear(4, 2))
            Traceback (most recent call last):
            prunescope.core.errors.RequestError: `model` must be of the same architecture: weight has shape (2, 4), and had (3, 4); bias has shape (2,), and had (3,).
            >>> explorer.close()
        """  # noqa: E501
        _raise(self.state.reload(model))

    @property
    def history(self) -> History:
        """The steps, and how many of them are applied."""
        return self.snapshot.history

    # Plans.

    @property
    def plans(self) -> Mapping[str, History]:
        """The kept plans, histories by name."""
        return self.snapshot.plans

    def keep_plan(self, name: str) -> None:
        """Keep the applied steps as a plan called ``name``, to return to and to compare.

        Raises:
            RequestError: There are no steps, or the name is empty or already taken.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 4, bias=False), amount=0.5)
            >>> explorer.apply()
            >>> explorer.keep_plan("half")
            >>> explorer.reset()
            >>> explorer.apply_plan("half")
            >>> explorer.preview.sparsity
            0.5
            >>> explorer.close()
        """
        self._act(partial(actions.keep, name=name), "plans")

    def rename_plan(self, old: str, new: str) -> None:
        """Rename the plan ``old`` to ``new``.

        Raises:
            RequestError: There is no such plan, or ``new`` is empty or already taken.
        """
        _raise(self.state.rename_plan(old, new))

    def remove_plan(self, name: str) -> None:
        """Remove the plan ``name``.

        Raises:
            RequestError: There is no such plan.
        """
        _raise(self.state.remove_plan(name))

    def apply_plan(self, name: str) -> None:
        """Apply the steps of the plan ``name`` in place of the current steps.

        Raises:
            RequestError: There is no such plan.
        """
        self._act(partial(actions.apply_plan, name=name), "plans")

    carry_out = apply_plan
    """The former name of `apply_plan`."""

    def compare(self, b: object = None, a: object = None) -> Comparison:
        """Compare two states of the model on the current layer, at the same amount.

        Args:
            b: A method's key, the name of a plan, or a `prunescope.measure.compare.Choice` (its fields may be
                given as a mapping, such as ``{"n": 1}``); None: the random counterpart of the current method,
                or L1/Ln if that is random.
            a: Likewise; None: the preview.

        Returns:
            The comparison, with the metric of both where there is one.

        Raises:
            RequestError: There is no such method or plan, or the layer does not allow it.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 4, bias=False), method="ln_structured", amount=2)
            >>> seen = explorer.compare("random_structured")
            >>> seen.a.pruned_weights, seen.b.pruned_weights
            (8, 8)
            >>> explorer.close()
        """
        first, second = (None if each is None else Choice.of(each) for each in (a, b))
        comparing = Comparing(first or Choice(), second)
        with self.state.lock:
            session, shown = self.state.session, self.preview.alone
            sides = [chosen(session, side, shown, 3) for side in (comparing.a, comparing.other(shown))]
            session.forget_rankings(3)
            seen = compare(session, *sides, at=shown)
            return measured_now(session, seen, self.state.tasks.runner)

    # Export.

    def pruned_model(self, *, permanent: bool = False) -> nn.Module:
        """Return a copy of the model with the steps applied.

        Args:
            permanent: Whether pruning is made permanent, as by ``prune.remove``; else each pruned parameter
                is a ``_orig`` parameter with a ``_mask`` buffer.

        Raises:
            RequestError: The model cannot be copied or pruned, or has changed since.
        """
        with self.state.lock:
            return pruned_model(self.state.session, permanent=permanent)

    def compact_model(self, **how: Any) -> CompactModel:
        """Cut out the whole channels that the steps have pruned, and prove that the outputs stay the same.

        Needs ``data=``, ``example=`` or ``evaluate=`` to run the model on, and the extra ``[remove]``.

        Args:
            **how: As for `prunescope.export.compact.compact_model`: ``coupled``, ``seconds``, ``examples``.

        Returns:
            The smaller network and what it saves; ``.difference`` is the largest difference of outputs.

        Raises:
            RequestError: torch-pruning is not installed, nothing can be cut, or the model cannot be run.

        Example:
            >>> import torch
            >>> from torch import nn
            >>> from prunescope import explore
            >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
            >>> explorer = explore(net, example=torch.ones(2, 4), method="ln_structured", amount=3)
            >>> explorer.apply()
            >>> smaller = explorer.compact_model(seconds=0)
            >>> smaller.model[0].weight.shape, smaller.difference < 1e-5
            (torch.Size([5, 4]), True)
            >>> explorer.close()
        """
        with self.state.lock:
            return compact_model(self.state.session, **how)

    def write_to_model(self) -> nn.Module:
        """Write what the steps have made of it into your own model, and return it.

        Pruned weights become zero, new ones are put in; no hooks, no masks. Nothing else here writes a model.

        Raises:
            RequestError: The model is a checkpoint, or no step is applied.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> model = nn.Linear(4, 3)
            >>> explorer = explore(model, amount=0.5)
            >>> explorer.apply()
            >>> explorer.write_to_model() is model, int((model.weight == 0).sum())
            (True, 6)
            >>> explorer.close()
        """
        with self.state.lock:
            return write_to_model(self.state.session)

    def plan(self, name: str | None = None) -> str:
        """Return the steps, or those of the kept plan ``name``, as JSON for `load_plan`.

        Raises:
            RequestError: There is no such plan.
        """
        with self.state.lock:
            session = self.state.session
            return plan(session, None if name is None else session.plans[name])

    def load_plan(self, text: str) -> None:
        """Apply the steps of a plan in place of the current steps.

        Raises:
            RequestError: It is not a plan, or is for another model; nothing has changed then.
        """
        self._act(partial(actions.bring, text=text), "plan")

    def code(self, engine: str = "torch") -> str:
        """Return a script that repeats the steps with ``"torch"``'s functions or ``"prunescope"``'s."""
        with self.state.lock:
            return code(self.state.session, engine=engine)

    def save(self, what: str, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Export a file and return its path.

        Args:
            what: ``state_dict``, ``masks``, ``plan``, or code for ``torch`` or ``prunescope``.
            path: Where to write. Tensors are written as ``torch.save`` does where the name ends in ``.pt``,
                ``.pth``, ``.bin`` or ``.ckpt``, else as safetensors.
            overwrite: Whether an existing file may be replaced.

        Raises:
            RequestError: There is no such kind, the file is there already, or it cannot be written.
        """
        with self.state.lock:
            return save(self.state.session, what, path, overwrite=overwrite)

    def _act(self, action: actions.Act, parameter: str, **changes: Any) -> None:
        _raise(self.state.act(action, parameter, **changes))

    def close(self) -> None:
        """Close every widget, figure and task of the explorer; it cannot be used afterwards."""
        if not self.children:
            close_tree(self)
            return
        let_go(self)
        with self.state.lock:
            self.state.close()
            self.screen.close()
            self.state.unobserve_all()
            close_tree(self)


def _raise(problem: RequestError | None) -> None:
    if problem is not None:
        raise problem
