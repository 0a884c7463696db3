import io

import numpy as np
import pytest
from PIL import Image

from prunescope.explorer.canvas.png import png


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (60, 97)])
def test_a_frame_is_the_picture(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 4), np.uint8)
    image = Image.open(io.BytesIO(png(pixels)))
    image.load()
    assert image.mode == "RGBA"
    assert (np.asarray(image) == pixels).all()
