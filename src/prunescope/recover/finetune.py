"""Fine-tuning with masks kept: train a copy, one batch at a time; pruned weights stay zero."""

from __future__ import annotations

import importlib
import math
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.measure import Accuracy, EvalCopy
from prunescope.recover.brake import Brake, Interrupted
from prunescope.recover.progress import Progress, check_trainable, check_unchanged, unrun
from prunescope.recover.recipe import RAMP, Recipe, gradual_share
from prunescope.recover.trainee import Trainee
from prunescope.session import Session
from prunescope.session.history import Step
from prunescope.session.recovered import Recovered
from prunescope.sources import Training, parts_of, scores_of
from prunescope.sources.batches import Batches
from prunescope.sources.scoring import Scoring
from prunescope.sources.state import memory_of

POINTS = 20
"""How often held-out accuracy is measured during training, besides at the end."""


@dataclass(frozen=True)
class Point:
    """A point of the learning curve.

    Attributes:
        step: Optimizer steps so far.
        done: Share of the training that is done, in [0, 1].
        accuracy: Held-out accuracy.
    """

    step: int
    done: float
    accuracy: Accuracy


class FineTuning:
    """Train a pruned copy of a session's model on `Source.train`, never on held-out data.

    Args:
        session: The session; its model is read, never written.
        recipe: How to train; None means the defaults of `Recipe`.
        train: Training data; None means `Source.train`.

    Attributes:
        curve: Held-out accuracies measured so far; the first is from before training.
        step: Optimizer steps so far.
        loss: Running mean of the loss; None before the first step.

    Raises:
        RequestError: There is no training data, or no trainable parameter.

    Example:
        >>> from prunescope.sources import demo_source
        >>> work = FineTuning(Session(demo_source("mlp")), Recipe(epochs=1))
        >>> for progress in work.run():
        ...     pass
        >>> progress.step, progress.done
        (19, 1.0)
        >>> work.keep().title
        "fine_tune(optimizer='AdamW', learning_rate=0.003, epochs=1)"
    """

    def __init__(
        self, session: Session, recipe: Recipe | None = None, *, train: Training | None = None
    ) -> None:
        self.recipe = recipe or Recipe()
        source = session.source
        train = train or source.train
        if train is None:
            raise RequestError(
                "train", "`train` must be given to fine-tune: `data` is held out, and never trained on."
            )
        check_trainable(source.module)
        _refuse_held_out(session, train)
        self._session, self._train = session, train
        self._dense = self.recipe.targets == "dense"
        if self._dense and source.loss is not None:
            raise RequestError(
                "targets", "`targets` 'dense' is for classes; with a `loss` of your own it is 'labels'."
            )
        self._loss = source.loss or F.cross_entropy
        self._gradual = self.recipe.pruning == "gradual"
        self._history = session.history
        self._trainee = Trainee(session, masked=not self._gradual, seed=self.recipe.seed)
        self._copy = EvalCopy(source.module)  # A separate one: training may run in another thread.
        self._brake = Brake()
        self._start = 0.0
        self.curve: list[Point] = []
        self.step = 0
        self.loss: float | None = None

    @property
    def is_current(self) -> bool:
        """Return whether the session's steps are unchanged since the start, so that `keep` works."""
        return self._session.history is self._history

    def stop(self) -> None:
        """End `run` at the model's next operation if it runs in another thread, else after this batch.

        `keep` then applies what the whole batches before it have trained. May be called from any thread.
        """
        self._brake.pull()

    @property
    def revived(self) -> int:
        """Return how many pruned weights are not zero; always 0."""
        return self._trainee.revived

    def run(self) -> Iterator[Progress]:
        """Train, yielding the progress after each batch of training or measuring.

        It may be left after any of them, or ended by `stop`: `keep` applies what has been trained by then.

        Raises:
            RequestError: The loss is not finite, the optimizer or the loss raises, memory runs out, or
                the model cannot be run on the examples.
        """
        with suppress(Interrupted):
            yield from self._to_the_end()

    def _to_the_end(self) -> Iterator[Progress]:
        for _ in _imported("torch._dynamo"):
            yield self._progress(0.0)
        optimizer = self.recipe.make_optimizer(self._trainee.trainable)
        rates = [group["lr"] for group in optimizer.param_groups]
        yield from self._measure(0.0)
        self._start = time.perf_counter()
        for inputs, targets, done in self._batches():
            if self._brake.pulled:
                return
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * self.recipe.rate(done)
            if self._gradual:
                self._trainee.prune_share(gradual_share(done / RAMP))
            self._take_step(optimizer, inputs, targets)
            yield self._progress(done, optimizer.param_groups[0]["lr"])
            if done * POINTS >= len(self.curve):
                yield from self._measure(done)
        if self._gradual:
            self._trainee.prune_share(1.0)
        yield from self._measure(1.0)
        yield self._progress(1.0)

    def _batches(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor, float]]:
        """Yield the batches, with the share of the training that is done before each."""
        size, epochs, seconds = self.recipe.batch, self.recipe.epochs, self.recipe.seconds
        count, epoch = self._train.batches(size), 0
        while epochs is None or epoch < epochs:
            number = 0
            for inputs, targets in self._train.epoch(size, seed=self.recipe.seed + epoch):
                spent = time.perf_counter() - self._start
                if seconds is not None and spent >= seconds:
                    return
                part = number / count if count else 0.0
                done = spent / seconds if seconds is not None else (epoch + min(part, 1.0)) / (epochs or 1)
                number += 1
                if len(targets) > 1:  # Of one example, batch-norm has no variance.
                    yield inputs, targets, done
            if number == 0:
                raise RequestError(
                    "train",
                    f"`train` has no batch in epoch {epoch + 1}: give a loader or a list.",
                )
            epoch += 1

    def _take_step(
        self, optimizer: torch.optim.Optimizer, inputs: tuple[Tensor, ...], targets: Tensor
    ) -> None:
        optimizer.zero_grad()
        try:
            with self._trainee.training(), self._trainee.whole(), self._brake.within():
                loss = self._loss_of(inputs, targets)
                value = float(loss.detach())
                if math.isfinite(value):
                    torch.autograd.backward(loss)
        except Exception as error:
            raise unrun("fine_tune", error, len(targets)) from error
        if not math.isfinite(value):
            raise RequestError(
                "fine_tune",
                f"`fine_tune` stopped at step {self.step + 1}: the loss is {value}. Give a smaller "
                "`learning_rate`, or look for NaN in `train`.",
            )
        try:
            optimizer.step()
        except Exception as error:
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise RequestError("optimizer", f"`optimizer` raised {type(error).__name__}: {reason}") from error
        finally:
            self._trainee.keep_zero()
        self.step += 1
        self.loss = value if self.loss is None else 0.9 * self.loss + 0.1 * value

    def _loss_of(self, inputs: tuple[Tensor, ...], targets: Tensor) -> Tensor:
        if not self._dense:
            loss: Tensor = self._loss(self._trainee.answer(inputs), targets)
            return loss
        return distillation(self._trainee.answer(inputs), scores_of(self._copy.run(inputs)))

    def _measure(self, done: float) -> Iterator[Progress]:
        source = self._session.source
        if source.data is None:
            return
        for _ in source.read():
            yield self._progress(done)
        pair = source.pair
        assert pair is not None
        found: Accuracy | None = None
        for accuracy in self._brake.over(self._copy.evaluate(*pair, self._trainee.current())):
            found = accuracy
            yield self._progress(done)
        if found is not None:
            self.curve.append(Point(self.step, done, found))

    def _progress(self, done: float, rate: float | None = None) -> Progress:
        seconds = time.perf_counter() - self._start if self._start else 0.0
        last = self.curve[-1].accuracy if self.curve else None
        return Progress(self.step, done, seconds, self.loss, rate, last)

    def keep(self) -> Step:
        """Apply the trained weights as the session's next step, and return the step.

        Raises:
            RequestError: Nothing was trained, the weights are not finite, or the steps have changed.
        """
        check_unchanged(self._session, self._history)
        if self._gradual:
            self._trainee.prune_share(1.0)  # Also if it was stopped half-way.
        count = self._train.examples
        on = f" on {count:,} examples" if count is not None else ""
        loss = f", loss {self.loss:.3g}" if self.loss is not None else ""
        said = f"trained {self.step:,} steps{on}{loss}; {self.revived} pruned weights revived"
        values = self._trainee.values() if self.step else {}
        last = self.curve[-1] if self.curve else None
        measured = last.accuracy if last is not None and (last.step, last.done) == (self.step, 1.0) else None
        return self._session.recover(Recovered(self.recipe.call, said), values, measured)


def distillation(answers: Tensor, dense: Tensor, temperature: float = 2.0) -> Tensor:
    """Return the distillation loss: the mean KL divergence between the dense model's classes and ``answers``.

    G. Hinton et al., "Distilling the knowledge in a neural network" (2015), arXiv:1503.02531.

    Args:
        answers: Scores of shape ``(N, classes)``.
        dense: Scores of the dense model, of the same shape.
        temperature: Both scores are divided by it, so that small ones count too.

    Example:
        >>> scores = torch.tensor([[2.0, 0.0, -1.0]])
        >>> float(distillation(scores, scores)), float(distillation(scores, -scores)) > 1
        (0.0, True)
    """
    wanted = F.log_softmax(dense / temperature, dim=1)
    found = F.log_softmax(answers / temperature, dim=1)
    return temperature**2 * F.kl_div(found, wanted, log_target=True, reduction="batchmean")


def _imported(module: str) -> Iterator[None]:
    """Import ``module`` in a thread, yielding meanwhile: the first optimizer needs it, and it takes seconds.

    Import errors are ignored here; whoever uses the module will raise them.
    """

    def load() -> None:
        with suppress(Exception):
            importlib.import_module(module)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.02)
        yield


def _refuse_held_out(session: Session, training: Training) -> None:
    """Check that training data is not the held-out data.

    Raises:
        RequestError: Both are the same loader, or tensors that share memory.
    """
    evaluate = session.source.evaluate
    train, data = training.given(), evaluate.data if isinstance(evaluate, Scoring) else session.source.data
    if isinstance(train, Batches) and isinstance(data, Batches):
        same = train.given is data.given
    elif isinstance(train, tuple) and isinstance(data, tuple):
        same = _overlap(parts_of(train[0])[0], parts_of(data[0])[0])
    else:
        same = False
    if same:
        raise RequestError("train", "`train` must not be `data`: what is held out is never trained on.")


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors share memory, such as overlapping slices of one tensor."""
    if not one.numel() or not other.numel() or memory_of(one) is None or memory_of(other) is None:
        return False
    (start, end), (first, last) = _range(one), _range(other)
    same = one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    return same and start < last and first < end


def _range(tensor: Tensor) -> tuple[int, int]:
    """Return the offset of a tensor's first element in its storage, and one past its last."""
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = int(tensor.storage_offset())
    return first, first + int(reach) + 1
