"""The explorer as a notebook's code sees it: the same state as attributes, the steps, and taking it home."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from prunescope.explorer.live.compare import measured_now, numbers_now
from prunescope.explorer.state import actions as acts
from prunescope.explorer.state.state import ExplorerState
from prunescope.export import code, plan, pruned_model, save
from prunescope.figures import View
from prunescope.measure import Accuracy, Comparison, Costs, Effect, Numbers
from prunescope.measure.compare import Choice, Comparing, chosen, compare
from prunescope.measure.costs.measuring import measure
from prunescope.prune import Norm
from prunescope.session.history import History


class Attributes(ExplorerState):
    """The state of an explorer, read and changed by attributes and methods that raise what is refused."""

    def _set(self, **changes: Any) -> None:
        self._raise(self.request(**changes))

    @property
    def accuracy(self) -> tuple[Accuracy, Accuracy] | None:
        """Return held-out accuracy before and after the preview, measured now if need be; None without data.

        Raises:
            RequestError: The model cannot be run on the data.
        """
        if not self.snapshot.has_data:
            return None
        return self._session.accuracy(), self._session.accuracy(self.preview)

    @property
    def numbers(self) -> tuple[Numbers, Numbers] | None:
        """Return what `evaluate` says before and after the preview, asked now if need be; None without it.

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
        with self._lock:
            if self._session.source.evaluate is None:
                return None
            before = numbers_now(self._session, None, self._calls)
            return before, numbers_now(self._session, self.preview, self._calls)

    @property
    def effect(self) -> Effect | None:
        """Return what the steps and the preview change in the answers to the data; None without data.

        Raises:
            RequestError: The model cannot be run on the data.
        """
        return None if self.accuracy is None else self._session.effect(self.preview)

    @property
    def costs(self) -> Costs:
        """Return what the model costs with the steps and what is shown, measured now: files, operations, …

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(100, 10), amount=0.9)
            >>> explorer.costs.nonzero, explorer.costs.files.text
            (110, '4.1 → 8.1 → 4.1 KiB')
            >>> explorer.close()
        """
        *_, costs = measure(self._session, self.preview)
        return costs

    @property
    def view(self) -> View:
        """Return what the pictures show of the preview; set it to show something else."""
        return self.snapshot.view

    @view.setter
    def view(self, view: View) -> None:
        self._set(view=view)

    @property
    def model(self) -> str:
        """Return the key of the model shown; set it to show another."""
        return self.snapshot.model

    @model.setter
    def model(self, model: str) -> None:
        self._set(model=model)

    @property
    def layer(self) -> str:
        """Return the full name of the parameter shown; set it to show another (``"fc"`` means its weight)."""
        return self.spec.layer

    @layer.setter
    def layer(self, layer: str) -> None:
        self._set(layer=layer)

    @property
    def method(self) -> str:
        """Return the pruning method, by torch's function name; set it to use another."""
        return self.spec.method

    @method.setter
    def method(self, method: str) -> None:
        self._set(method=method)

    @property
    def amount(self) -> int | float:
        """Return how much to prune: a float is a fraction, an int a count; set it to prune more or less."""
        return self.spec.amount

    @amount.setter
    def amount(self, amount: int | float) -> None:
        self._set(amount=amount)

    @property
    def n(self) -> Norm:
        """Return the order of the norm; set it to a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``."""
        return self.spec.n

    @n.setter
    def n(self, n: Norm) -> None:
        self._set(n=n)

    @property
    def dim(self) -> int:
        """Return the axis that numbers the channels; set it to choose another."""
        return self.spec.dim

    @dim.setter
    def dim(self, dim: int) -> None:
        self._set(dim=dim)

    @property
    def seed(self) -> int:
        """Return the seed of the random methods; set it for another draw."""
        return self.spec.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._set(seed=seed)

    @property
    def keep_channels(self) -> tuple[int, ...]:
        """Return the channels left as they are by hand; set it to whole numbers, or text like ``"3, 7-9"``.

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
        return self.spec.keep_channels

    @keep_channels.setter
    def keep_channels(self, channels: object) -> None:
        self._set(keep_channels=channels)

    @property
    def prune_channels(self) -> tuple[int, ...]:
        """Return the channels pruned whole by hand; set it as `keep_channels`."""
        return self.spec.prune_channels

    @prune_channels.setter
    def prune_channels(self, channels: object) -> None:
        self._set(prune_channels=channels)

    # Steps.

    def apply(self) -> None:
        """Make what is shown a step; the amount is 0 again, and the next one is taken of what is left.

        Raises:
            RequestError: The amount prunes nothing.

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
        self._raise(self._act(acts.apply, "steps"))

    def silence(self) -> None:
        """Mask the bias, and the batch-norm's scale and shift, of the channels that the steps have pruned.

        A structured step prunes a channel's weights; these go on being put out. They are masked as a step of
        their own.

        Raises:
            RequestError: Nothing is put out, or it cannot be seen or masked.
        """
        self._raise(self._act(acts.silence, "silence"))

    def undo(self) -> None:
        """Take the last step back; what it asked is asked again, not yet applied.

        Raises:
            RequestError: There is no step to undo.
        """
        self._raise(self._act(acts.undo, "steps"))

    def redo(self) -> None:
        """Carry the step that was taken back last out again.

        Raises:
            RequestError: No step was taken back.
        """
        self._raise(self._act(acts.redo, "steps"))

    def reset(self) -> None:
        """Go back to the model as it was given; `redo` brings the steps back."""
        self._raise(self._act(acts.reset, "steps"))

    def jump(self, position: int) -> None:
        """Go to where the first ``position`` steps are carried out.

        Raises:
            RequestError: There are not so many steps.
        """
        self._raise(self._act(partial(acts.jump, position=position), "steps"))

    @property
    def history(self) -> History:
        """Return the steps, and how many of them are carried out."""
        return self.snapshot.history

    # Plans.

    @property
    def plans(self) -> Mapping[str, History]:
        """Return the histories that are kept, by name."""
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
        self._raise(self._keep_plan(name))

    def rename_plan(self, old: str, new: str) -> None:
        """Give the plan ``old`` the name ``new``.

        Raises:
            RequestError: There is no such plan, or ``new`` is none or is taken.
        """
        self._raise(self._rename_plan(old, new))

    def remove_plan(self, name: str) -> None:
        """Forget the plan ``name``.

        Raises:
            RequestError: There is none.
        """
        self._raise(self._remove_plan(name))

    def carry_out(self, name: str) -> None:
        """Carry out the steps of the plan ``name`` in place of the steps there are.

        Raises:
            RequestError: There is no such plan.
        """
        self._raise(self._carry_out(name))

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
        with self._lock:
            session, shown = self._session, self.preview
            sides = [chosen(session, side, shown, 3) for side in (comparing.a, comparing.other(shown))]
            session.forget_rankings(3)
            seen = compare(session, *sides, at=shown)
            return measured_now(session, seen, self._calls)

    # Taking it home.

    def pruned_model(self, *, permanent: bool = False) -> nn.Module:
        """Return a copy of the model with the steps carried out.

        Args:
            permanent: Whether pruning is made permanent, as by ``prune.remove``; else each pruned parameter
                is a ``_orig`` parameter with a ``_mask`` buffer.

        Raises:
            RequestError: The model cannot be copied or pruned, or has changed since.
        """
        with self._lock:
            return pruned_model(self._session, permanent=permanent)

    def plan(self, name: str | None = None) -> str:
        """Return the steps, or those of the kept plan ``name``, as JSON for `load_plan`.

        Raises:
            RequestError: There is no such plan.
        """
        return plan(self._session, None if name is None else self._session.plans[name])

    def load_plan(self, text: str) -> None:
        """Carry out the steps of a plan in place of the steps there are.

        Raises:
            RequestError: It is no plan, or is for another model; nothing has changed then.
        """
        self._raise(self._bring(text))

    def code(self, engine: str = "torch") -> str:
        """Return a script that does the steps again, by ``"torch"``'s functions or ``"prunescope"``'s."""
        with self._lock:
            return code(self._session, engine=engine)

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
        with self._lock:
            return save(self._session, what, path, overwrite=overwrite)
