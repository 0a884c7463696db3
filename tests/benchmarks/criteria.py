"""Held-out accuracy of every criterion on every demo, all layers pruned by the same share.

    python tests/benchmarks/criteria.py [--demos cnn mlp vit lstm]

All weight matrices and kernels but those of the last layer are pruned: whole output channels by
`ln_structured`, single weights by `l1_unstructured`, and the same share of each row by
`grouped_unstructured`. Where a criterion has no scores for a layer the weights
are ranked there, and the count of such layers stands in brackets.
"""

from __future__ import annotations

import argparse

from prunescope.core.criteria import CRITERIA
from prunescope.core.spec import PruneSpec
from prunescope.measure.importance import ensure_scores, scored_preview
from prunescope.measure.states import accuracy
from prunescope.session import Session
from prunescope.sources import demo_source

AMOUNTS = (0.3, 0.5, 0.7, 0.9)
METHODS = {"channels": "ln_structured", "weights": "l1_unstructured", "rows": "grouped_unstructured"}


def pruned_accuracy(session: Session, method: str, criterion: str, amount: float) -> tuple[float, int]:
    """Return the accuracy, and how many layers were ranked by their weights instead."""
    session.reset()
    instead = 0
    layers = [name for name, tensor in session.tensors.items() if len(tensor.shape) > 1][:-1]
    for layer in layers:
        resolved = session.resolve(PruneSpec(layer, method, amount, criterion=criterion), frozenset())
        instead += resolved.spec.criterion != criterion
        session.apply(scored_preview(session, resolved))
    found = accuracy(session, session.applied).fraction
    return found, instead


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--demos", nargs="+", default=["cnn", "mlp", "vit", "lstm"])
    for demo in parser.parse_args().demos:
        session = Session(demo_source(demo))
        print(f"\n{demo}: {accuracy(session).in_words}")
        for unit, method in METHODS.items():
            print(f"{unit:10}" + "".join(f"{amount:>12.0%}" for amount in AMOUNTS))
            for criterion in (key for key in CRITERIA if key != "given"):
                ensure_scores(session, criterion)
                cells = (pruned_accuracy(session, method, criterion, amount) for amount in AMOUNTS)
                row = (
                    f"{100 * found:.1f}" + (f" [{instead}]" if instead else "") for found, instead in cells
                )
                print(f"{criterion:10}" + "".join(f"{cell:>12}" for cell in row), flush=True)


if __name__ == "__main__":
    main()
