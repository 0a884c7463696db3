"""A recovery in words and pictures: what each state is worth, how far the training is, and its curve."""

from __future__ import annotations

from html import escape
from typing import Any

from prunescope.core.text import percent
from prunescope.explorer.live.recovery import FINE_TUNE
from prunescope.explorer.panels.curve import curve_svg
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.tasks import TRAINING_OFF
from prunescope.measure import Accuracy, Measure
from prunescope.recover import FINE_TUNED, PRUNED, REESTIMATED, Recipe
from prunescope.session.recovered import Recovered


def outcomes_html(snapshot: Snapshot) -> str:
    """Return dense, pruned, re-estimated and fine-tuned side by side."""
    dense = None if snapshot.metric is None else snapshot.metric.before
    cells = [("dense", dense)] + [(name, snapshot.outcomes.get(name)) for name in _STATES]
    shown = "".join(
        f'<div class="ps-outcome"><span class="ps-name">{escape(name)}</span>'
        f'<span class="ps-value">{escape(_short(measure))}</span>'
        f'<span class="ps-name">{escape(_against(measure, dense))}</span></div>'
        for name, measure in cells
    )
    return f'<div class="ps-outcome-row">{shown}</div>'


_STATES = (PRUNED, REESTIMATED, FINE_TUNED)


def _short(measure: Measure | None) -> str:
    if measure is None:
        return "–"
    short = measure.short
    return ", ".join(short.values() if len(short) == 1 else map(" ".join, short.items()))


def _against(measure: Measure | None, dense: Measure | None) -> str:
    """Return how far an accuracy is from the dense one, in points."""
    if not isinstance(measure, Accuracy) or not isinstance(dense, Accuracy):
        return ""
    if measure is dense:
        return f"{dense.right:,} of {dense.total:,}"
    points = 100 * (measure.fraction - dense.fraction)
    return f"{points:+.1f} points".replace("-", "−")


def progress_html(snapshot: Snapshot, limit: float | None) -> str:
    """Return how far it is, what waits for a person, or what will be done."""
    shown, progress = snapshot.recovery, snapshot.recovery.progress
    said = []
    if shown.doing:
        verb = "Fine-tuning" if shown.doing == FINE_TUNE else "Re-estimating batch-norm"
        said.append(f"{verb}: {100 * progress.done:.0f} %" if progress and progress.step else f"{verb} …")
        if progress and progress.seconds_left is not None and shown.doing == FINE_TUNE:
            said[-1] += f" · {progress.seconds_left:.0f} s left · step {progress.step:,}"
            said[-1] += "" if progress.loss is None else f" · loss {progress.loss:.3g}"
        said[-1] = f"{said[-1]}{'; stopping …' if shown.stopping else ''}."
    elif shown.waits and progress:
        said.append(f"Stopped after {progress.step:,} steps: keep what is trained, or discard it.")
    elif not shown.doing:
        said += _idle(snapshot, limit)
    said.append(shown.note)
    return "".join(f"<p>{escape(each)}</p>" for each in said if each)


def _idle(snapshot: Snapshot, limit: float | None) -> list[str]:
    """Return what is to be said while nothing is done: what will be, or why it cannot."""
    reasons, done = snapshot.recovers, snapshot.history.done
    if reasons.get(FINE_TUNE):
        return [reasons[FINE_TUNE]]
    if limit == 0:
        return [TRAINING_OFF]
    last = done[-1].spec if done else None
    if isinstance(last, Recovered):
        return [
            f"Kept as a step: {last.said}. Plans, links and code cannot hold new weights; "
            "the pruned weights under Export do."
        ]
    prunes = snapshot.preview.pruned_units > 0
    if not (prunes or done):
        return ["Nothing is pruned yet: raise Amount first."]
    first = "What is shown becomes a step first. " if prunes else ""
    bounded = "" if limit is None else f" This server trains for at most {limit:g} s."
    return [f"{first}Training keeps what is pruned at zero; held-out data only measures.{bounded}"]


def curve_html(snapshot: Snapshot, width: int) -> str:
    """Return the curve of the training, with the dense line above and the pruned start below; or ""."""
    shown = snapshot.recovery
    points = [(point.done, point.accuracy.fraction) for point in shown.curve]
    how: dict[str, Any] = {"width": width, "ends": _ends(shown.recipe)}
    if points:
        says = f"{percent(points[0][1])} at first, {percent(points[-1][1])} at last"
        title = "Held-out accuracy while it trains"
        return _titled(title, curve_svg(points, _lines(snapshot), says=f"{title}: {says}", **how))
    if shown.losses:
        says = f"Loss of training: {shown.losses[-1][1]:.3g} at last"
        return _titled("Loss of training", curve_svg(shown.losses, [], says=says, percent=False, **how))
    return ""


def _lines(snapshot: Snapshot) -> list[tuple[str, float, str]]:
    dense = None if snapshot.metric is None else snapshot.metric.before
    named = [("dense", dense), ("start", snapshot.recovery.start)]
    return [
        (f"{kind} {percent(accuracy.fraction)}", accuracy.fraction, kind)
        for kind, accuracy in named
        if isinstance(accuracy, Accuracy)
    ]


def _ends(recipe: Recipe) -> str:
    return f"{recipe.seconds:g} s" if recipe.seconds is not None else f"{recipe.epochs} epochs"


def _titled(title: str, picture: str) -> str:
    return f"<h4>{title}</h4>{picture}"
