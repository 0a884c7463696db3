"""The explorer as a notebook shows it and its code sees it: a state, and the widgets that show it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.explorer.closing import close_tree
from prunescope.explorer.fields import SpecField
from prunescope.explorer.live.compare import measured_now, numbers_now
from prunescope.explorer.live.network import asked_of_layers
from prunescope.explorer.outputs import do_not_keep, keep_while_shown
from prunescope.explorer.panels import PANELS
from prunescope.explorer.screen import Screen
from prunescope.explorer.state import actions
from prunescope.explorer.state.catalogue import Catalogue
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.export import code, plan, pruned_model, save
from prunescope.export.compact import Smaller, compact_model
from prunescope.figures import View, sentence
from prunescope.measure import Accuracy, Comparison, Costs, Effect, Numbers
from prunescope.measure.compare import Choice, Comparing, chosen, compare
from prunescope.measure.costs.measuring import measure
from prunescope.network import Allocation, SensitivityTable, allocate, sensitivity
from prunescope.prune import Norm
from prunescope.session.history import History


class Explorer(widgets.VBox):  # type: ignore[misc]
    """The explorer of one model, or of a choice of models: controls, live pictures, numbers.

    The same state is behind the controls and the attributes: moving a slider changes `amount`, and
    ``explorer.amount = 0.5`` moves the slider. A request that cannot be met leaves everything as it was,
    shows one sentence beside the control, and raises it when it came from code.

    Args:
        catalogue: What can be explored.
        hide: What is not shown, some of `prunescope.explorer.state.link.HIDEABLE`.
        lock: Controls that are shown and cannot be moved by hand.
        **spec: Fields of `PruneSpec` to start with: layer, method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: The model has nothing to prune, or a value cannot be met.

    Attributes:
        state: What is explored and shown; observe its ``snapshot`` to follow every change.
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
                state.measure()
        except BaseException:  # Where no event loop runs the data are read here.
            self.close()
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute that is there; any other name is a slip of the pen, and says what was meant."""
        if not name.startswith("_") and name not in ("state", "screen") and not hasattr(type(self), name):
            near = get_close_matches(name, dir(self), 1)
            hint = f": did you mean {near[0]!r}?" if near else "."
            raise AttributeError(f"an Explorer has no attribute {name!r}{hint}")
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """List what is ours: a box of widgets has sixty names more."""
        return sorted(name for name in (*vars(Explorer), "state", "screen") if not name.startswith("_"))

    def _repr_mimebundle_(self, **_how: Any) -> dict[str, Any]:
        """Return what a notebook shows: the widgets where there is a kernel, else the last picture.

        A page that was saved, a hosting site's preview and nbconvert have no kernel: they show a still
        picture and its sentence.
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

    # What is asked, and what that does.

    def request(self, **changes: Any) -> RequestError | None:
        """Ask for changes, all of them or none; what the controls do, and the attributes.

        Args:
            **changes: Fields of `PruneSpec`; ``model`` where there is a choice of models; ``view``, a
                `prunescope.figures.View` of what the pictures show; ``comparing``, a
                `prunescope.measure.compare.Comparing` of what is compared with what; ``front``, the name of
                the panel to bring to the front; ``exporting``, the file whose text is shown.

        Returns:
            None, or why the request was refused; then all is as it was, and the sentence is shown.

        Raises:
            TypeError: An unknown keyword.

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
        """Ask for changes as `request` does, and raise what is refused.

        Raises:
            RequestError: Why the request was refused; all is as it was.
        """
        _raise(self.request(**changes))

    layer = SpecField[str, str](
        'Full name of the parameter shown; set it to show another (``"fc"`` means its weight).'
    )
    method = SpecField[str, str]("The pruning method, by torch's function name.")
    amount = SpecField[int | float, int | float]("How much to prune: a float is a fraction, an int a count.")
    n = SpecField[Norm, Norm]('Order of the norm: a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``.')
    dim = SpecField[int, int]("The axis that numbers the channels.")
    seed = SpecField[int, int]("The seed of the random methods; set it for another draw.")
    criterion = SpecField[str, str](
        'What counts as unimportant: ``"weight"``, ``"taylor"`` …; its scores are computed first.'
    )
    keep_channels = SpecField[tuple[int, ...], object](
        """Channels left as they are by hand; set it to whole numbers, or text like ``"3, 7-9"``.

        They are channels of this layer along `dim`: with another layer or `dim`, none are by hand.

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
    def snapshot(self) -> Snapshot:
        """What is shown now."""
        return self.state.snapshot

    @property
    def spec(self) -> PruneSpec:
        """What is asked of the tensor now."""
        return self.state.spec

    @property
    def preview(self) -> Preview:
        """What that would do: mask, norms, threshold, counts."""
        return self.state.preview

    @property
    def view(self) -> View:
        """What the pictures show of the preview; set it to show something else."""
        return self.snapshot.view

    @view.setter
    def view(self, view: View) -> None:
        self.ask(view=view)

    @property
    def model(self) -> str:
        """Key of the model shown; set it to show another."""
        return self.snapshot.model

    @model.setter
    def model(self, model: str) -> None:
        self.ask(model=model)

    @property
    def layers(self) -> Mapping[str, PrunableTensor]:
        """Each parameter that can be pruned, biases included, by full name: kind, shape, axes, weight.

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
        """The whole state as the query of a dashboard's address: ``"model=cnn&amount=0.3"`` …"""
        return self.state.query

    def open_link(self, query: str) -> RequestError | None:
        """Show the state that a link carries, all of it or nothing.

        Args:
            query: What follows the ``?`` of the link; parameters that are not ours are passed over.

        Returns:
            None, or why it was refused; then all is as it was, and the sentence is shown.
        """
        return self.state.open_link(query)

    # What it is worth, and what it costs.

    @property
    def accuracy(self) -> tuple[Accuracy, Accuracy] | None:
        """Held-out accuracy before and after the preview, measured now if need be; None without data.

        Raises:
            RequestError: The model cannot be run on the data.
        """
        with self.state.lock:
            if not self.snapshot.has_data:
                return None
            return self.state.session.accuracy(), self.state.session.accuracy(self.preview)

    @property
    def numbers(self) -> tuple[Numbers, Numbers] | None:
        """What `evaluate` says before and after the preview, asked now if need be; None without it.

        Raises:
            RequestError: It raises, or does not answer, or not with numbers.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> def zeros(model):
            ...     return float((model.weight == 0).sum())
            >>> explorer = explore(nn.Linear(10, 10), method="l1_unstructured", amount=0.3, evaluate=zeros)
            >>> before, after = explorer.numbers
            >>> before.values, after.values
            ({'zeros': 0.0}, {'zeros': 30.0})
            >>> explorer.close()
        """
        with self.state.lock:
            session = self.state.session
            if session.source.evaluate is None:
                return None
            before = numbers_now(session, None, self.state.calls)
            return before, numbers_now(session, self.preview, self.state.calls)

    @property
    def effect(self) -> Effect | None:
        """What the steps and the preview change in the answers to the data; None without data.

        Raises:
            RequestError: The model cannot be run on the data.
        """
        with self.state.lock:
            return None if self.accuracy is None else self.state.session.effect(self.preview)

    @property
    def costs(self) -> Costs:
        """What the model costs with the steps and what is shown, measured now: files, FLOPs, …

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
        """Measure what each layer loses at each amount, with the steps carried out.

        Args:
            **how: As for `prunescope.sensitivity`, without model and data; method, norm, dim and seed are
                those that are shown unless they are given.

        Raises:
            RequestError: There is nothing to measure on, or a value is not possible.
        """
        asked = asked_of_layers(self.spec)
        shown = {name: getattr(asked, name) for name in ("method", "n", "dim", "seed")}
        with self.state.lock:
            return sensitivity(self.state.session, **{**shown, **how})

    def allocate(self, target: float | None = 0.5, **goal: Any) -> Allocation:
        """Find how much of each layer goes so that a goal is met; see `prunescope.allocate`.

        Args:
            target: Share of the goal's ``unit`` that is to be pruned in all, in (0, 1).
            **goal: As for `prunescope.allocate`; method, norm, dim and seed are those that are shown unless
                they are given.

        Raises:
            RequestError: The goal cannot be met by any allocation, or a value is not possible.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)))
            >>> explorer.apply(explorer.allocate(0.5, rule="uniform"))
            >>> explorer.history.done[0].where, explorer.preview.sparsity
            ('2 layers', 0.5)
            >>> explorer.close()
        """
        asked = asked_of_layers(self.spec)
        shown = {name: getattr(asked, name) for name in ("method", "n", "dim", "seed")}
        with self.state.lock:
            return allocate(self.state.session, target, **{**shown, **goal})

    def apply(self, allocation: Allocation | None = None) -> None:
        """Make what is shown a step; the amount is 0 again, and the next one is taken of what is left.

        Args:
            allocation: What `allocate` returned: all of its layers become one step in place of what is shown.

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

        A structured step prunes a channel's weights; these go on being put out. They are masked as a step of
        their own.

        Raises:
            RequestError: Nothing is put out, or it cannot be seen or masked.
        """
        self._act(actions.silence, "silence")

    def undo(self) -> None:
        """Take the last step back; what it asked is asked again, not yet applied.

        Raises:
            RequestError: There is no step to undo.
        """
        self._act(actions.undo, "steps")

    def redo(self) -> None:
        """Carry the step that was taken back last out again.

        Raises:
            RequestError: No step was taken back.
        """
        self._act(actions.redo, "steps")

    def reset(self) -> None:
        """Go back to the model as it was given; `redo` brings the steps back."""
        self._act(actions.reset, "steps")

    def jump(self, position: int) -> None:
        """Go to where the first ``position`` steps are carried out.

        Raises:
            RequestError: There are not so many steps.
        """
        self._act(partial(actions.jump, position=position), "steps")

    @property
    def history(self) -> History:
        """The steps, and how many of them are carried out."""
        return self.snapshot.history

    # Plans.

    @property
    def plans(self) -> Mapping[str, History]:
        """The histories that are kept, by name."""
        return self.snapshot.plans

    def keep_plan(self, name: str) -> None:
        """Keep the steps that are carried out under ``name``, to come back to them and to compare them.

        Raises:
            RequestError: There are no steps, or the name is none or is taken.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 4, bias=False), amount=0.5)
            >>> explorer.apply()
            >>> explorer.keep_plan("half")
            >>> explorer.reset()
            >>> explorer.carry_out("half")
            >>> explorer.preview.sparsity
            0.5
            >>> explorer.close()
        """
        self._act(partial(actions.keep, name=name), "plans")

    def rename_plan(self, old: str, new: str) -> None:
        """Give the plan ``old`` the name ``new``.

        Raises:
            RequestError: There is no such plan, or ``new`` is none or is taken.
        """
        _raise(self.state.rename_plan(old, new))

    def remove_plan(self, name: str) -> None:
        """Forget the plan ``name``.

        Raises:
            RequestError: There is none.
        """
        _raise(self.state.remove_plan(name))

    def carry_out(self, name: str) -> None:
        """Carry out the steps of the plan ``name`` in place of the steps there are.

        Raises:
            RequestError: There is no such plan.
        """
        self._act(partial(actions.carry_out, name=name), "plans")

    def compare(self, b: object = None, a: object = None) -> Comparison:
        """Return how two states of the model differ on the layer shown, at the same amount.

        Args:
            b: A method's key, the name of a plan, or a `prunescope.measure.compare.Choice` (its fields may be
                given as a mapping, such as ``{"n": 1}``); None: chance, or, if chance is shown, what ranks.
            a: The same; None: what is shown.

        Returns:
            The comparison, with the accuracy of both if there is data, or what `evaluate` says of them.

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
            session, shown = self.state.session, self.preview
            sides = [chosen(session, side, shown, 3) for side in (comparing.a, comparing.other(shown))]
            session.forget_rankings(3)
            seen = compare(session, *sides, at=shown)
            return measured_now(session, seen, self.state.calls)

    # Taking it home.

    def pruned_model(self, *, permanent: bool = False) -> nn.Module:
        """Return a copy of the model with the steps carried out.

        Args:
            permanent: Whether pruning is made permanent, as by ``prune.remove``; else each pruned parameter
                is a ``_orig`` parameter with a ``_mask`` buffer.

        Raises:
            RequestError: The model cannot be copied or pruned, or has changed since.
        """
        with self.state.lock:
            return pruned_model(self.state.session, permanent=permanent)

    def compact_model(self, **how: Any) -> Smaller:
        """Cut out what whole channels the steps have pruned, and prove that the answers stay the same.

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

    def plan(self, name: str | None = None) -> str:
        """Return the steps, or those of the kept plan ``name``, as JSON for `load_plan`.

        Raises:
            RequestError: There is no such plan.
        """
        with self.state.lock:
            session = self.state.session
            return plan(session, None if name is None else session.plans[name])

    def load_plan(self, text: str) -> None:
        """Carry out the steps of a plan in place of the steps there are.

        Raises:
            RequestError: It is no plan, or is for another model; nothing has changed then.
        """
        self._act(partial(actions.bring, text=text), "plan")

    def code(self, engine: str = "torch") -> str:
        """Return a script that does the steps again, by ``"torch"``'s functions or ``"prunescope"``'s."""
        with self.state.lock:
            return code(self.state.session, engine=engine)

    def save(self, what: str, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a file that the steps make, and return its path.

        Args:
            what: ``state_dict``, ``masks``, ``plan``, or code for ``torch`` or ``prunescope``.
            path: Where to. Tensors are written as ``torch.save`` does where the name ends in ``.pt``,
                ``.pth``, ``.bin`` or ``.ckpt``, else as safetensors.
            overwrite: Whether a file that is there may be replaced.

        Raises:
            RequestError: There is no such kind, the file is there already, or it cannot be written.
        """
        with self.state.lock:
            return save(self.state.session, what, path, overwrite=overwrite)

    def _act(self, action: actions.Act, parameter: str, **changes: Any) -> None:
        _raise(self.state.act(action, parameter, **changes))

    def close(self) -> None:
        """Close every widget, figure and task of the explorer; it is of no use afterwards."""
        if not self.children:
            close_tree(self)
            return
        with self.state.lock:
            self.state.close()
            self.screen.close()
            self.state.unobserve_all()
            close_tree(self)


def _raise(problem: RequestError | None) -> None:
    if problem is not None:
        raise problem
