"""The four networks of the demos: one small example of each family of layers that people prune.

All take images of shape ``(N, 1, 8, 8)`` and return scores of shape ``(N, 10)``. Their linear, convolution
and LSTM layers are called as modules, so that a mask put on a weight by a forward pre-hook always takes
effect (``nn.MultiheadAttention`` reads some of its weights past such hooks).
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch-norm, and a 1×1 convolution around them where the shape changes.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        stride: Step of the first convolution, in pixels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        same_shape = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same_shape else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, outputs, H / stride, W / stride)`` for ``x`` of shape ``(N, inputs, H, W)``."""
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.skip(x))


class ResidualCNN(nn.Module):
    """A residual convolutional network: a stem, two blocks of 32 and 64 channels, a mean over the image."""

    def __init__(self) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.block1 = ResidualBlock(32, 32)
        self.block2 = ResidualBlock(32, 64, stride=2)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return ten scores per image."""
        features = self.block2(self.block1(F.relu(self.norm(self.stem(x)))))
        scores: Tensor = self.head(features.mean(dim=(2, 3)))
        return scores


class MLP(nn.Module):
    """A multi-layer perceptron: 64 pixels, two hidden layers of 128, ten scores."""

    def __init__(self) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.fc2 = nn.Linear(128, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return ten scores per image."""
        scores: Tensor = self.head(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))
        return scores


class Attention(nn.Module):
    """Multi-head self-attention from two linear layers.

    Args:
        width: Features of a token; a multiple of ``heads``.
        heads: Number of attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of shape ``(N, T, width)`` for ``x`` of that shape."""
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        tokens: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return tokens


class TransformerBlock(nn.Module):
    """Attention, then a two-layer perceptron on each token; each normalised before and added after.

    Args:
        width: Features of a token.
        heads: Number of attention heads.
        hidden: Units of the perceptron's hidden layer.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of shape ``(N, T, width)`` for ``x`` of that shape."""
        x = x + self.attention(self.norm1(x))
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x


class VisionTransformer(nn.Module):
    """A vision transformer: sixteen 2×2 patches, three blocks of width 64, a mean over the tokens."""

    def __init__(self) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.patches = nn.Conv2d(1, 64, kernel_size=2, stride=2)
        self.position = nn.Parameter(torch.empty(16, 64))
        self.blocks = nn.Sequential(*(TransformerBlock(64, heads=4, hidden=128) for _ in range(3)))
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 10)
        nn.init.uniform_(self.position, -0.05, 0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Return ten scores per image."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        scores: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return scores


class RowLSTM(nn.Module):
    """An LSTM that reads an image row by row, top to bottom, and answers from its last state."""

    def __init__(self) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.lstm = nn.LSTM(input_size=8, hidden_size=64, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return ten scores per image."""
        states, _ = self.lstm(x.squeeze(1))
        scores: Tensor = self.head(states[:, -1])
        return scores


NETWORKS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"cnn": ResidualCNN, "mlp": MLP, "vit": VisionTransformer, "lstm": RowLSTM}
)
"""The class of each demo's network, by the demo's key."""
