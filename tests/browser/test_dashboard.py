"""Every control of the served page, compared with what torch computes here."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.utils.prune as oracle
from matplotlib.colors import to_rgb
from playwright.sync_api import Page
from torch import Tensor, nn

from prunescope.figures.style import KEPT, PRUNED
from prunescope.sources.demos import DEMOS, load_demo
from tests.support import hosts

OpenPage = Callable[..., Page]


class Dashboard:
    """The page, as a person uses it: by the labels of its controls."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def choose(self, label: str, option: str) -> None:
        self.page.get_by_label(label, exact=True).select_option(label=option)

    def type(self, label: str, text: str) -> None:
        field = self.page.get_by_label(label, exact=True)
        field.fill(text)
        field.press("Enter")

    def numbers(self) -> str:
        return " ".join(self.page.locator(".ps-numbers [role=status]").inner_text().split())

    def wait_for(self, *texts: str) -> None:
        hosts.wait_until(self.page, lambda: all(text in self.numbers() for text in texts))

    def problem(self) -> str:
        return self.page.get_by_role("alert").inner_text()

    def wait_for_mask(self, mask: Tensor) -> None:
        """Wait until the heatmap on the screen shows ``mask``, one row of cells per row of the matrix."""
        self.page.locator(".ps-canvas canvas").first.wait_for()
        hosts.wait_until(self.page, lambda: shows(hosts.canvas_pixels(self.page), mask))


def colours(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where ``pixels`` have the colour of what is kept, and of what is pruned."""
    kept, pruned = (
        (np.abs(pixels[..., :3].astype(int) - np.array(to_rgb(colour)) * 255) < 3).all(-1)
        for colour in (KEPT, PRUNED)
    )
    return kept, pruned


def heatmap(pixels: np.ndarray) -> tuple[slice, slice] | None:
    """Return the rows and columns of the picture that the heatmap takes: the first wide coloured band."""
    kept, pruned = colours(pixels)
    coloured = kept | pruned
    rows = coloured.mean(1) > 0.8
    if not rows.any():
        return None
    top = int(rows.argmax())
    bottom = top + int((~rows[top:]).argmax())
    columns = coloured[top:bottom].mean(0) > 0.9
    left, right = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
    return slice(top, bottom), slice(left, right)


def shows(pixels: np.ndarray, mask: Tensor) -> bool:
    """Return whether the heatmap in ``pixels`` is ``mask``, looked at in the middle of every cell."""
    matrix = mask.reshape(mask.shape[0], -1).numpy()
    place = heatmap(pixels)
    if place is None:
        return False
    kept, _ = colours(pixels[place])
    height, width = kept.shape
    if height < matrix.shape[0] or width < matrix.shape[1]:
        return False
    down = ((np.arange(matrix.shape[0]) + 0.5) * height / matrix.shape[0]).astype(int)
    across = ((np.arange(matrix.shape[1]) + 0.5) * width / matrix.shape[1]).astype(int)
    return bool((kept[np.ix_(down, across)] == matrix).mean() > 0.999)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def pruned_by_torch(
    key: str, layer: str, prune: Callable[[nn.Module, str], object]
) -> tuple[Tensor, str, str]:
    """Return the mask, the model's sparsity and its accuracy on the page's own words."""
    model, (inputs, targets) = load_demo(key)
    total = sum(parameter.numel() for parameter in model.parameters())
    pruned = copy.deepcopy(model)
    module, _, name = layer.rpartition(".")
    prune(pruned.get_submodule(module), name)
    mask = getattr(pruned.get_submodule(module), f"{name}_mask").bool()
    with torch.no_grad():
        before = int((model(inputs).argmax(1) == targets).sum()) / len(targets)
        right = int((pruned(inputs).argmax(1) == targets).sum())
    accuracy = f"{percent(before)} → {percent(right / len(targets))} ({right} of {len(targets)})"
    return mask, percent(int((~mask).sum()) / total), accuracy


@pytest.fixture
def dashboard(voila_url: str, open_page: OpenPage) -> Iterator[Dashboard]:
    page = open_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(voila_url)
    shown = Dashboard(page)
    shown.wait_for("of 599)")
    yield shown
    assert errors == []
    assert "Traceback" not in page.inner_text("body")


CNN = DEMOS["cnn"].layer


def test_it_opens_on_a_pruned_layer(dashboard: Dashboard) -> None:
    mask, sparsity, accuracy = pruned_by_torch(
        "cnn", CNN, lambda m, name: oracle.ln_structured(m, name, 0.3, 2, 0)
    )
    dashboard.wait_for("30 % of 64 output channels", "19 (29.7 %)", f"Model sparsity {sparsity}", accuracy)
    dashboard.wait_for_mask(mask)
    assert dashboard.page.title() == "Prunescope"
    assert "makes nothing smaller or faster" in dashboard.page.inner_text("body")


def test_every_control_moves_the_numbers_and_the_picture(dashboard: Dashboard) -> None:
    def expect(
        prune: Callable[[nn.Module, str], object], *texts: str, key: str = "cnn", layer: str = CNN
    ) -> None:
        mask, sparsity, accuracy = pruned_by_torch(key, layer, prune)
        dashboard.wait_for(f"Model sparsity {sparsity}", accuracy, *texts)
        dashboard.wait_for_mask(mask)

    dashboard.type("Amount", "0.5")
    expect(lambda m, name: oracle.ln_structured(m, name, 0.5, 2, 0), "32 (50.0 %)")
    dashboard.choose("Norm n", "inf · largest |w|")
    expect(lambda m, name: oracle.ln_structured(m, name, 0.5, float("inf"), 0))
    dashboard.choose("Norm n", "another number …")
    dashboard.type("n =", "3")
    expect(lambda m, name: oracle.ln_structured(m, name, 0.5, 3, 0))
    dashboard.choose("Dim", "1 · input channels (64)")
    expect(lambda m, name: oracle.ln_structured(m, name, 0.5, 3, 1), "of 64 input channels")
    dashboard.choose("Amount as", "a count of input channels")
    dashboard.wait_for("Requested 32 of 64 input channels")
    dashboard.type("Amount", "7")
    expect(lambda m, name: oracle.ln_structured(m, name, 7, 3, 1), "Requested 7 of 64", "7 (10.9 %)")

    def seeded(m: nn.Module, name: str) -> None:
        torch.manual_seed(5)
        oracle.random_structured(m, name, 7, 1)

    dashboard.choose("Method", "Random structured")
    dashboard.type("Seed", "5")
    expect(seeded)

    def seeded_weights(m: nn.Module, name: str) -> None:
        torch.manual_seed(5)
        oracle.random_unstructured(m, name, 0.4)

    dashboard.choose("Method", "Random unstructured")
    dashboard.choose("Amount as", "a fraction, 0 to 1")
    dashboard.wait_for("% of 36,864 weights")
    dashboard.type("Amount", "0.4")
    expect(seeded_weights, "40 % of 36,864 weights")
    dashboard.choose("Method", "L1 unstructured")
    expect(lambda m, name: oracle.l1_unstructured(m, name, 0.4))
    dashboard.choose("Layer", "block2.conv1.weight · 64×32×3×3 · Conv2d")
    expect(lambda m, name: oracle.l1_unstructured(m, name, 0.4), layer="block2.conv1.weight")
    dashboard.choose("Model", "MLP")
    expect(lambda m, name: oracle.l1_unstructured(m, name, 0.4), key="mlp", layer=DEMOS["mlp"].layer)


def test_the_slider_is_dragged(dashboard: Dashboard) -> None:
    handle = dashboard.page.locator(".ps-amount .noUi-handle:visible")
    track = dashboard.page.locator(".ps-amount .noUi-base:visible").bounding_box()
    box = handle.bounding_box()
    mouse = dashboard.page.mouse
    middle = box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] / 2, middle)
    mouse.down()
    for step in range(60):
        mouse.move(track["x"] + track["width"] * (0.1 + 0.8 * (step % 20) / 19), middle)
    mouse.move(track["x"] + track["width"] * 0.62, middle)
    mouse.up()
    field = dashboard.page.get_by_label("Amount", exact=True)
    percents = handle.evaluate("handle => handle.closest('.noUi-target').noUiSlider.get(true)")
    amount = round(percents) / 100
    assert 0.6 < amount < 0.64
    hosts.wait_until(dashboard.page, lambda: float(field.input_value()) == amount)
    mask, sparsity, accuracy = pruned_by_torch(
        "cnn", CNN, lambda m, name: oracle.ln_structured(m, name, amount, 2, 0)
    )
    dashboard.wait_for(f"{100 * amount:.4g} % of 64", f"Model sparsity {sparsity}", accuracy)
    dashboard.wait_for_mask(mask)


def test_the_slider_moves_by_keyboard(dashboard: Dashboard) -> None:
    dashboard.page.locator(".ps-amount .noUi-handle:visible").focus()
    for _ in range(5):
        dashboard.page.keyboard.press("ArrowRight")
    dashboard.wait_for("35 % of 64", "22 (34.4 %)")


FOCUSED = """() => {
    const focused = document.activeElement, style = getComputedStyle(focused);
    const name = focused.getAttribute('aria-label') || focused.labels?.[0]?.innerText || focused.innerText;
    const wide = style.outlineStyle === 'auto' || parseFloat(style.outlineWidth) >= 2;
    return focused === document.body ? null : [name, style.outlineStyle !== 'none' && wide];
}"""


def test_where_the_keyboard_is_is_seen_on_every_control(dashboard: Dashboard) -> None:
    seen: dict[str, bool] = {}
    dashboard.page.keyboard.press("Tab")
    while focused := dashboard.page.evaluate(FOCUSED):
        seen[focused[0]] = focused[1]
        dashboard.page.keyboard.press("Tab")
    assert {"Model", "Method", "By hand", "View", "Amount", "Amount, by hand", "Apply", "Copy link"} <= set(
        seen
    )
    assert [name for name, outlined in seen.items() if not outlined] == []


def test_the_arrow_of_a_list_is_light_where_the_page_is_dark(voila_url: str, open_page: OpenPage) -> None:
    arrows = []
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        page.goto(voila_url)
        layer = page.get_by_label("Layer", exact=True)
        layer.wait_for()
        arrows.append(layer.evaluate("element => getComputedStyle(element).backgroundImage"))
    assert arrows[0] != arrows[1]
    assert "stroke='%23ddd'" in arrows[1]


def test_bad_input_is_answered_beside_its_control_and_the_picture_stays(dashboard: Dashboard) -> None:
    mask, _, _ = pruned_by_torch("cnn", CNN, lambda m, name: oracle.ln_structured(m, name, 0.4, 2, 0))
    wait_for_whole_picture(dashboard.page)
    dashboard.type("Amount", "0.4")  # The first picture may be of another size, stretched.
    dashboard.wait_for_mask(mask)
    before = hosts.canvas_pixels(dashboard.page)
    for amount in ("1.5", "-1", "1e99"):
        dashboard.type("Amount", amount)
        hosts.wait_until(dashboard.page, lambda: dashboard.page.get_by_role("alert").count() == 1)
        assert "must be a float in [0, 1] or a count from 0 to 64 (output channels)" in dashboard.problem()
        hosts.wait_until(
            dashboard.page, lambda: dashboard.page.get_by_label("Amount", exact=True).input_value() == "0.4"
        )
    assert dashboard.page.locator(".ps-amount [role=alert]").count() == 1
    after = hosts.canvas_pixels(dashboard.page)
    assert np.array_equal(before, after)
    dashboard.choose("Norm n", "nuc · sum of singular values")
    hosts.wait_until(dashboard.page, lambda: dashboard.page.get_by_role("alert").count() == 0)
    dashboard.choose("Norm n", "another number …")
    dashboard.type("n =", "abc")
    hosts.wait_until(dashboard.page, lambda: dashboard.page.get_by_role("alert").count() == 1)
    assert "“Norm n” must be a number, inf, -inf, 'fro' or 'nuc', got 'abc'" in dashboard.problem()
    options = dashboard.page.get_by_label("Layer", exact=True).locator("option").all_inner_texts()
    bias = next(option for option in options if "head.bias" in option)
    dashboard.choose("Layer", bias)
    # For a moment the last problem is still there too.
    dashboard.page.get_by_role("alert").filter(has_text="needs a tensor of at least 2 axes").wait_for()
    hosts.wait_until(
        dashboard.page,
        lambda: (
            "block2.conv2.weight"
            in dashboard.page.get_by_label("Layer", exact=True).evaluate(
                "select => select.selectedOptions[0].text"
            )
        ),
    )


def test_unused_controls_are_disabled(dashboard: Dashboard) -> None:
    def enabled() -> list[str]:
        return [
            label
            for label in ("Norm n", "Dim", "Seed")
            if dashboard.page.get_by_label(label, exact=True).is_enabled()
        ]

    assert enabled() == ["Norm n", "Dim"]
    dashboard.choose("Method", "Random structured")
    hosts.wait_until(dashboard.page, lambda: enabled() == ["Dim", "Seed"])
    dashboard.choose("Method", "L1 unstructured")
    hosts.wait_until(dashboard.page, lambda: enabled() == [])


@pytest.mark.parametrize("width", [1400, 420])
def test_nothing_is_wider_than_the_page(voila_url: str, open_page: OpenPage, width: int) -> None:
    page = open_page(width=width)
    page.goto(voila_url)
    wait_for_whole_picture(page)
    assert hosts.overflow(page) == 0
    assert hosts.canvas_pixels(page).shape[1] <= width


def wait_for_whole_picture(page: Page) -> None:
    """Wait until the numbers are there, and a picture as wide as its place."""
    Dashboard(page).wait_for("of 599)")
    page.locator(".ps-ruler").first.wait_for(state="attached")
    room = "document.querySelector('.ps-ruler').clientWidth"
    hosts.wait_until(page, lambda: abs(hosts.canvas_pixels(page).shape[1] - page.evaluate(room)) <= 8)


@pytest.mark.parametrize(("width", "where"), [(1400, "beside"), (800, "beside"), (420, "below")])
def test_what_is_chosen_stands_by_the_picture(
    voila_url: str, open_page: OpenPage, width: int, where: str
) -> None:
    page = open_page(width=width)
    page.goto(voila_url)
    wait_for_whole_picture(page)
    picture = page.locator(".ps-canvas").bounding_box()
    chosen = [page.get_by_label(name, exact=True).bounding_box() for name in ("Layer", "Method", "Dim")]
    tabs = page.get_by_role("tab", name="Steps").bounding_box()
    bottom = picture["y"] + picture["height"]
    for box in chosen:
        if where == "beside":
            assert box["x"] + box["width"] < picture["x"]
            assert box["y"] < bottom
        else:
            assert bottom <= box["y"] < tabs["y"]
