"""Re-estimate batch-norm: measure the means and variances of the pruned network, without labels.

B. Li et al., "EagleEye: fast sub-net evaluation for efficient neural network pruning", ECCV 2020: accuracy
after re-estimation predicts accuracy after fine-tuning; accuracy before it does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from prunescope.core.errors import RequestError
from prunescope.recover.brake import Brake, Interrupted
from prunescope.recover.progress import Progress, check_unchanged, unrun
from prunescope.recover.trainee import Trainee
from prunescope.session import Session
from prunescope.session.history import Step
from prunescope.session.recovered import Recovered
from prunescope.sources import Training

EXAMPLES = 2048
"""Default for the largest number of examples to run."""


class Reestimation:
    """Run a pruned copy on training inputs and collect the statistics of its batch-norms.

    Args:
        session: The session, with `Source.train`; its model is read, never written.
        train: Data to run it on; None means `Source.train`.
        examples: Largest number of examples to run.
        batch: Examples in a batch.

    Raises:
        RequestError: There is no training data, or no batch-norm that tracks statistics.

    Example:
        >>> from prunescope.sources import demo_source
        >>> work = Reestimation(Session(demo_source("cnn")), examples=128)
        >>> for progress in work.run():
        ...     pass
        >>> work.keep().effect
        'statistics of 5 batch-norms re-estimated on 128 examples, without labels'
    """

    def __init__(
        self, session: Session, *, train: Training | None = None, examples: int = EXAMPLES, batch: int = 64
    ) -> None:
        train = train or session.source.train
        if train is None:
            raise RequestError(
                "train", "`train` must be given to re-estimate batch-norm: nothing is estimated on `data`."
            )
        self._session, self._train, self._history = session, train, session.history
        self._trainee = Trainee(session)
        modules = self._trainee.model.modules()
        self._norms = [m for m in modules if isinstance(m, _BatchNorm) and m.running_mean is not None]
        if not self._norms:
            raise RequestError("train", "`train`: this model has no batch-norm that keeps statistics.")
        self._most, self._batch, self._seen, self._brake = examples, batch, 0, Brake()

    @property
    def is_current(self) -> bool:
        """Return whether the session's steps are unchanged since the start, so that `keep` works."""
        return self._session.history is self._history

    def stop(self) -> None:
        """End `run` at the model's next operation if it runs in another thread; half a batch is not kept.

        May be called from any thread.
        """
        self._brake.pull()

    def run(self) -> Iterator[Progress]:
        """Run batch by batch, yielding the progress after each.

        Raises:
            RequestError: The model cannot be run on the examples.
        """
        total = min(self._most, self._train.examples or self._most)
        momenta = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None  # A plain mean over all batches.
        try:
            yield from self._batches(total)
        except Interrupted:
            self._seen = 0
        finally:
            for norm, momentum in zip(self._norms, momenta, strict=True):
                norm.momentum = momentum

    def _batches(self, total: int) -> Iterator[Progress]:
        for inputs, targets in self._train.epoch(self._batch, seed=0):
            if self._seen >= self._most or (self._seen and len(targets) < self._batch):
                break
            self._run(inputs)
            self._seen += len(targets)
            yield Progress(self._seen, min(1.0, self._seen / total))

    def _run(self, inputs: tuple[torch.Tensor, ...]) -> None:
        try:
            with self._trainee.training(), self._brake.within(), torch.no_grad():
                self._trainee.model.eval()  # Dropout and the like stay off.
                for norm in self._norms:
                    norm.train()
                self._trainee.answer(inputs)
        except Exception as error:
            raise unrun("reestimate_batchnorm", error, len(inputs[0])) from error

    def keep(self) -> Step:
        """Apply the new statistics as the session's next step, and return the step.

        Raises:
            RequestError: Nothing was run, or the steps have changed meanwhile.
        """
        check_unchanged(self._session, self._history)
        call = f"reestimate_batchnorm(examples={self._seen})"
        said = (
            f"statistics of {len(self._norms)} batch-norms re-estimated on {self._seen:,} examples, "
            "without labels"
        )
        return self._session.recover(Recovered(call, said), self._trainee.values() if self._seen else {})
