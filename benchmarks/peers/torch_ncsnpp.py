"""NCSN++ and DDPM++ in PyTorch: the networks of `score_sde.models.ncsnpp`, to compare speeds at equal weights.

Written as fast PyTorch code usually is: fused attention, library norms and convolutions, `torch.autocast` for
bfloat16, any memory format, `torch.compile` without graph breaks. The layers form one flat list in the order of
the calls, as in the published networks, whose state dicts load unchanged. Images are (b, c, h, w).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.torch_layers import (
    AttnBlockpp,
    Downsample,
    GaussianFourierProjection,
    GroupNorm,
    ResnetBlockBigGANpp,
    conv,
    dense,
    rescaled_sum,
)

Layers = Iterator[Any]
OPTIONS = (
    "image_size",
    "num_channels",
    "centered",
    "nf",
    "ch_mult",
    "num_res_blocks",
    "attn_resolutions",
    "dropout",
    "fir",
    "progressive_input",
    "embedding_type",
    "scale_by_sigma",
)


class NCSNpp(nn.Module):
    """`network(x, labels)` -> (b, c, h, w), with BigGAN blocks, swish and sums divided by sqrt(2).

    Args:
        image_size: height and width in pixels.
        num_channels: channels of the images.
        centered: images are in [-1, 1]; False: in [0, 1].
        nf: base width.
        ch_mult: width of each level, in units of nf.
        num_res_blocks: residual blocks per level.
        attn_resolutions: resolutions with self-attention.
        dropout: dropout rate in training.
        fir: resample with the filter (1, 3, 3, 1); False: naively.
        progressive_input: "none" | "residual", the pyramid of the input joins the features of each level.
        embedding_type: "positional", labels are times of the order of 0 ... 1000 | "fourier", they are sigma.
        scale_by_sigma: the output is divided by sigma.
    """

    frequencies: Tensor
    sigmas: Tensor

    def __init__(
        self,
        image_size: int = 32,
        num_channels: int = 3,
        centered: bool = True,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.1,
        fir: bool = False,
        progressive_input: str = "none",
        embedding_type: str = "positional",
        scale_by_sigma: bool = False,
    ) -> None:
        super().__init__()
        self.image_size, self.num_channels, self.centered = image_size, num_channels, centered
        self.nf, self.ch_mult, self.num_res_blocks = nf, tuple(ch_mult), num_res_blocks
        self.attn_resolutions, self.dropout, self.fir = tuple(attn_resolutions), dropout, fir
        self.progressive_input, self.embedding_type = progressive_input, embedding_type
        self.scale_by_sigma = scale_by_sigma
        self.all_modules = nn.ModuleList(self._build())
        # In float64, so that the frequencies are rounded only once, to the dtype of the labels.
        steps = torch.arange(nf // 2, dtype=torch.float64) / (nf // 2 - 1)
        self.register_buffer("frequencies", torch.exp(-math.log(1e4) * steps), persistent=False)
        # Published networks store the discrete noise levels, in decreasing order.
        levels = torch.linspace(math.log(50.0), math.log(0.01), 1000, dtype=torch.float64)
        self.register_buffer("sigmas", levels.exp())

    @classmethod
    def from_config(cls, config: Any) -> NCSNpp:
        """Build the network of one of our configurations, such as configs/vp_cifar.py."""
        of_data = ("image_size", "num_channels", "centered")
        return cls(
            **{name: (config.data if name in of_data else config.model)[name] for name in OPTIONS}
        )

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Compute the raw output.

        Args:
            x: noisy images, (b, num_channels, image_size, image_size).
            labels: (b,); sigma for the Fourier embedding, a time label for the positional one.
        """
        layers = iter(self.all_modules)
        temb = self._embedding(labels, layers)
        h, skips = self._down(x if self.centered else 2 * x - 1, temb, layers)
        h = next(layers)(h, temb)
        h = next(layers)(h)
        h = next(layers)(h, temb)
        out = self._head(self._up(h, skips, temb, layers), layers)
        return out / self._sigma(labels, out)[:, None, None, None] if self.scale_by_sigma else out

    def _embedding(self, labels: Tensor, layers: Layers) -> Tensor:
        """The embedding (b, 4 nf) after the activation, which all blocks share."""
        if self.embedding_type == "fourier":
            features = next(layers)(labels.log())
        else:
            angles = labels[:, None] * self.frequencies.to(labels.dtype)
            features = torch.cat([angles.sin(), angles.cos()], dim=1)
        hidden = F.silu(next(layers)(features))
        return F.silu(next(layers)(hidden))

    def _down(self, x: Tensor, temb: Tensor, layers: Layers) -> tuple[Tensor, list[Tensor]]:
        pyramid, h = x, next(layers)(x)
        skips = [h]
        for level in range(len(self.ch_mult)):
            for _ in range(self.num_res_blocks):
                h = next(layers)(h, temb)
                if h.shape[2] in self.attn_resolutions:
                    h = next(layers)(h)
                skips.append(h)
            if level < len(self.ch_mult) - 1:
                h = next(layers)(h, temb)
                if self.progressive_input == "residual":
                    h = pyramid = rescaled_sum(next(layers)(pyramid), h)
                skips.append(h)
        return h, skips

    def _up(self, h: Tensor, skips: list[Tensor], temb: Tensor, layers: Layers) -> Tensor:
        for level in reversed(range(len(self.ch_mult))):
            for _ in range(self.num_res_blocks + 1):
                h = next(layers)(torch.cat([h, skips.pop()], dim=1), temb)
            if h.shape[2] in self.attn_resolutions:
                h = next(layers)(h)
            if level > 0:
                h = next(layers)(h, temb)
        return h

    def _head(self, h: Tensor, layers: Layers) -> Tensor:
        # In float32 even under autocast: rounding errors of the output would remain.
        with torch.autocast(h.device.type, enabled=False):
            norm, last = next(layers), next(layers)
            return last(F.silu(norm(h.to(last.weight.dtype))))

    def _sigma(self, labels: Tensor, out: Tensor) -> Tensor:
        if self.embedding_type == "fourier":
            return labels
        return self.sigmas[labels.long()].to(out.dtype)

    def _build(self) -> Iterator[nn.Module]:
        """The layers, in the order in which `forward` takes them."""
        if self.embedding_type == "fourier":
            yield GaussianFourierProjection(self.nf)
        yield dense(2 * self.nf if self.embedding_type == "fourier" else self.nf, 4 * self.nf)
        yield dense(4 * self.nf, 4 * self.nf)

        size, width, pyramid = self.image_size, self.nf, self.num_channels
        yield conv(self.num_channels, width)
        skips = [width]
        for level, mult in enumerate(self.ch_mult):
            for _ in range(self.num_res_blocks):
                yield self._block(width, self.nf * mult)
                width = self.nf * mult
                if size in self.attn_resolutions:
                    yield AttnBlockpp(width)
                skips.append(width)
            if level < len(self.ch_mult) - 1:
                yield self._block(width, width, "down")
                size //= 2
                if self.progressive_input == "residual":
                    yield Downsample(pyramid, width, self.fir)
                    pyramid = width
                skips.append(width)

        yield self._block(width, width)
        yield AttnBlockpp(width)
        yield self._block(width, width)

        for level in reversed(range(len(self.ch_mult))):
            for _ in range(self.num_res_blocks + 1):
                yield self._block(width + skips.pop(), self.nf * self.ch_mult[level])
                width = self.nf * self.ch_mult[level]
            if size in self.attn_resolutions:
                yield AttnBlockpp(width)
            if level > 0:
                yield self._block(width, width, "up")
                size *= 2
        yield GroupNorm(width)
        yield conv(width, self.num_channels, init_scale=1e-10)

    def _block(self, given: int, features: int, resampling: str | None = None) -> nn.Module:
        return ResnetBlockBigGANpp(given, features, 4 * self.nf, self.dropout, resampling, self.fir)


@torch.no_grad()
def random_weights_(network: NCSNpp, seed: int) -> None:
    """Make every parameter random, so that no layer outputs 0, as the last layers of a new network do.

    Weights are normal with variance 1 / fan_in, norm scales near 1, biases near 0.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        draw = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            inputs = parameter.shape[0] if name.endswith("W") else parameter[0].numel()
            draw = draw / math.sqrt(inputs)
        elif name.endswith("W"):
            draw = 16 * draw
        else:
            draw = 0.2 * draw + (1 if name.endswith("weight") else 0)
        parameter.copy_(draw)


def load_from_flax(network: NCSNpp, params: Any) -> None:
    """Load the parameters of our Flax network with the same options.

    Args:
        network: changed in place.
        params: the Flax parameter tree, with NumPy or JAX arrays.
    """
    # Imported here so that other uses of this module need no JAX, which would allocate the GPU's memory.
    from score_sde.foreign_weights.names import SIGMAS, from_tree, parameters
    from score_sde.models.ncsnpp import NCSNpp as FlaxNCSNpp

    flax_network = FlaxNCSNpp(**{name: getattr(network, name) for name in OPTIONS})
    arrays = from_tree(parameters(flax_network), params)
    state = {name: torch.tensor(array) for name, array in arrays.items()}
    network.load_state_dict({**state, SIGMAS: network.sigmas})
