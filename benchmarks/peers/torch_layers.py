"""The layers of `benchmarks.peers.torch_ncsnpp`, with the attribute names of the published networks.

`score_sde.models.blocks` states the formulas. Features are (b, c, h, w), embeddings of the noise level (b, f).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIR = (1.0, 3.0, 3.0, 1.0)


class GroupNorm(nn.GroupNorm):
    """Group normalization with four channels per group, or 32 groups if that is fewer. The output has the dtype of the input.

    Autocast on a GPU would return float32 and double the memory traffic of what follows. Sums are in float32 either way.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(min(channels // 4, 32), channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            return F.group_norm(x, self.num_groups, weight, bias, self.eps)


class NIN(nn.Module):
    """A dense layer on the last axis, y = x W + b."""

    def __init__(self, channels: int, init_scale: float = 0.1) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(channels, channels))
        self.b = nn.Parameter(torch.empty(channels))
        initialise_(self.W, self.b, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W.t(), self.b)


class AttnBlockpp(nn.Module):
    """Residual block of single-head self-attention over all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.GroupNorm_0 = GroupNorm(channels)
        self.NIN_0, self.NIN_1, self.NIN_2 = (NIN(channels) for _ in range(3))
        self.NIN_3 = NIN(channels, init_scale=1e-10)

    def forward(self, x: Tensor) -> Tensor:
        # (b, heads, pixels, c): a view, without a copy in channels_last format.
        pixels = self.GroupNorm_0(x).flatten(2).transpose(1, 2).unsqueeze(1)
        h = F.scaled_dot_product_attention(
            self.NIN_0(pixels), self.NIN_1(pixels), self.NIN_2(pixels)
        )
        h = self.NIN_3(h).squeeze(1).transpose(1, 2).unflatten(2, x.shape[2:])
        return rescaled_sum(x, h)


class ResnetBlockBigGANpp(nn.Module):
    """Residual block of BigGAN, which can change the resolution: `resampling` is None, "up" or "down"."""

    def __init__(
        self,
        given: int,
        features: int,
        embedding: int,
        dropout: float,
        resampling: str | None = None,
        fir: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.resample = Resample(given, resampling, fir) if resampling else nn.Identity()
        self.GroupNorm_0 = GroupNorm(given)
        self.Conv_0 = conv(given, features)
        self.Dense_0 = dense(embedding, features)
        self.GroupNorm_1 = GroupNorm(features)
        self.Conv_1 = conv(features, features, init_scale=1e-10)
        self.Conv_2 = (
            conv(given, features, size=1) if given != features or resampling else nn.Identity()
        )

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """Features (b, features, h', w') from x (b, given, h, w) and the activated embedding (b, embedding)."""
        h = self.resample(F.silu(self.GroupNorm_0(x)))
        h = self.Conv_0(h) + self.Dense_0(temb)[:, :, None, None]
        h = F.silu(self.GroupNorm_1(h))
        h = self.Conv_1(F.dropout(h, self.dropout, self.training))
        return rescaled_sum(self.Conv_2(self.resample(x)), h)


class Resample(nn.Module):
    """Doubles ("up") or halves ("down") the resolution, with the filter FIR or naively (nearest, mean)."""

    kernel: Tensor

    def __init__(self, channels: int, direction: str, fir: bool) -> None:
        super().__init__()
        self.channels, self.direction, self.fir = channels, direction, fir
        if fir:
            kernel = filter_kernel(channels) * (4 if direction == "up" else 1)
            self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.fir and self.direction == "up":
            kernel = self.kernel.to(x.dtype)
            return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=self.channels)
        if self.fir:
            return F.conv2d(x, self.kernel.to(x.dtype), stride=2, padding=1, groups=self.channels)
        if self.direction == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.avg_pool2d(x, 2)


class FilteredConv(nn.Module):
    """The filter FIR, then a 3x3 convolution at stride 2."""

    kernel: Tensor

    def __init__(self, given: int, features: int) -> None:
        super().__init__()
        self.given = given
        self.weight = nn.Parameter(torch.empty(features, given, 3, 3))
        self.bias = nn.Parameter(torch.empty(features))
        initialise_(self.weight, self.bias)
        self.register_buffer("kernel", filter_kernel(given), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel.to(x.dtype), padding=2, groups=self.given)
        return F.conv2d(x, self.weight, self.bias, stride=2)


class Downsample(nn.Module):
    """Halves the resolution of the input pyramid with a 3x3 convolution."""

    def __init__(self, given: int, features: int, fir: bool) -> None:
        super().__init__()
        self.fir = fir
        if fir:
            self.Conv2d_0 = FilteredConv(given, features)
        else:
            self.Conv_0 = nn.Conv2d(given, features, 3, stride=2)
            initialise_(self.Conv_0.weight, self.Conv_0.bias)

    def forward(self, x: Tensor) -> Tensor:
        # Zeros at the far end only, as "same" padding does for stride 2 and even sizes.
        return self.Conv2d_0(x) if self.fir else self.Conv_0(F.pad(x, (0, 1, 0, 1)))


class GaussianFourierProjection(nn.Module):
    """Random Fourier features (b, 2 size) of the log noise level (b,); never trained."""

    def __init__(self, size: int, scale: float = 16.0) -> None:
        super().__init__()
        self.W = nn.Parameter(scale * torch.randn(size), requires_grad=False)

    def forward(self, log_sigma: Tensor) -> Tensor:
        angles = log_sigma[:, None] * self.W * (2 * math.pi)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def conv(given: int, features: int, size: int = 3, init_scale: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the resolution."""
    layer = nn.Conv2d(given, features, size, padding=size // 2)
    initialise_(layer.weight, layer.bias, init_scale)
    return layer


def dense(given: int, features: int) -> nn.Linear:
    """A dense layer on (b, given)."""
    layer = nn.Linear(given, features)
    initialise_(layer.weight, layer.bias)
    return layer


def initialise_(weight: Tensor, bias: Tensor | None, scale: float = 1.0) -> None:
    """Initialize the weight uniformly with variance 2 scale / (fan_in + fan_out), and the bias to 0."""
    nn.init.xavier_uniform_(weight, gain=math.sqrt(scale))
    if bias is not None:
        nn.init.zeros_(bias)


def rescaled_sum(x: Tensor, h: Tensor) -> Tensor:
    """(x + h) / sqrt(2), which keeps the variance of two uncorrelated terms."""
    return (x + h) / math.sqrt(2)


def filter_kernel(channels: int) -> Tensor:
    """FIR in both directions with sum 1, as a depthwise kernel (channels, 1, 4, 4). Symmetric: no flip is needed."""
    taps = torch.tensor(FIR) / sum(FIR)
    return torch.outer(taps, taps).repeat(channels, 1, 1, 1)
