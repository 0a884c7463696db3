"""The digits that the demos are trained and measured on, read from one small file of the package.

scikit-learn is needed only to remake that file (see ``train.py``); reading it takes numpy and a millisecond.
Which images are held out is part of the file, so that no later version of anything can shuffle a training
image into the held-out set.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FILES: Path = Path(__file__).parent / "files"
"""The folder of the package that holds the digits, the trained weights and the measured accuracies."""

DATA_CREDIT: str = (
    "Digits: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), UCI Machine "
    "Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0; the 1,797 images of its test part, as "
    "shipped with scikit-learn."
)
"""One sentence citing the source and the licence of the digits."""

_DARKEST = 16


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits, and which of them no demo was trained on.

    Attributes:
        images: Grey values 0 (paper) to 16 (ink), uint8 of shape ``(N, 8, 8)``.
        labels: The digit 0 to 9 on each image, uint8 of shape ``(N,)``.
        held_out: Sorted indices of the held-out images, integers of shape ``(H,)``.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    held_out: NDArray[np.uint16]

    @classmethod
    def read(cls, folder: Path = FILES) -> "Digits":
        """Return the digits stored in ``folder``."""
        with np.load(folder / "digits.npz") as stored:
            return cls(stored["images"], stored["labels"], stored["held_out"])

    def write(self, folder: Path) -> None:
        """Store the digits in ``folder``, compressed, as ``digits.npz``."""
        np.savez_compressed(
            folder / "digits.npz", images=self.images, labels=self.labels, held_out=self.held_out
        )

    def held_out_part(self) -> tuple[Tensor, Tensor]:
        """Return the held-out inputs, ``(H, 1, 8, 8)`` in [0, 1], and targets, ``(H,)``."""
        return self._part(np.isin(np.arange(len(self.labels)), self.held_out))

    def training_part(self) -> tuple[Tensor, Tensor]:
        """Return the inputs and targets of every image that is not held out, shaped as the held-out ones."""
        return self._part(~np.isin(np.arange(len(self.labels)), self.held_out))

    def _part(self, chosen: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        inputs = torch.from_numpy(self.images[chosen]).unsqueeze(1).to(torch.float32) / _DARKEST
        return inputs, torch.from_numpy(self.labels[chosen]).to(torch.int64)
