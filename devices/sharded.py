"""The devices that share a batch also share the training state: fully sharded data parallelism.

Each leaf of the state, so each parameter, each moment of Adam and each average, is split along its largest dimension that the
devices divide, by a rule of its shape alone; so a parameter and its moments lie alike. An update (Rajbhandari et al. 2020, ZeRO,
stage 3) is then

    all-gather of the parameters -> the program of one device, as ever -> reduce-scatter of the gradient -> update of the parts

Loss and gradient are sums of the same terms as in the other ways, on a CPU with the same bits. The rest of the update is written for
whole arrays, and XLA splits it as they lie: a norm is that of all parts, whatever the optimizer. To leave all of it to XLA moves more
bytes, and activations too: docs/training.md.

What does not update a state, such as a sampler, has its arguments whole, as in ShardMapDevices.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from score_sde.devices.mapped import (
    AXIS,
    STATE,
    Flag,
    Function,
    Mapped,
    Places,
    ShardMapDevices,
    Shares,
    mesh_of,
    placed,
)
from score_sde.errors import UserError

SMALL = 1024
"""Leaves of fewer numbers are whole on every device: 0.9 % of the digits' network, 0.15 % of DDPM++ for CIFAR-10."""


def spec_of(shape: tuple[int, ...], num_devices: int) -> PartitionSpec:
    """Split along the largest dimension that so many devices divide, of several the first; whole if there is none."""
    divisible = [axis for axis, size in enumerate(shape) if size % num_devices == 0]
    if math.prod(shape) < SMALL or not divisible:
        return PartitionSpec()
    longest = max(divisible, key=lambda axis: shape[axis])
    return PartitionSpec(*[None] * longest, AXIS)


def gathered(part: Array, spec: PartitionSpec) -> Array:
    """All of a leaf, from one device's part of it."""
    if AXIS not in spec:
        return part
    return jax.lax.all_gather(part, AXIS, axis=spec.index(AXIS), tiled=True)


def averaged(whole: Array, spec: PartitionSpec) -> Array:
    """One device's part of the mean over the devices."""
    if AXIS not in spec:
        return jax.lax.pmean(whole, AXIS)
    axis = spec.index(AXIS)
    total = jax.lax.psum_scatter(whole, AXIS, scatter_dimension=axis, tiled=True)
    return total / jax.lax.axis_size(AXIS)


def itself(tree: Any) -> Any:
    """The tree as it is."""
    return tree


@dataclasses.dataclass(frozen=True)
class FsdpDevices(ShardMapDevices):
    """By `jax.jit` of arrays that lie split, with `jax.shard_map` for what a device makes of its share of the batch."""

    def program(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = False, donate: Places = ()
    ) -> Mapped:
        mesh = mesh_of(self.devices)

        def there(flag: Flag, tree: Any) -> Any:
            """The results, constrained to lie as their flags say."""
            specs = self.specs(flag, tree)
            places = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
            return jax.lax.with_sharding_constraint(tree, places)

        def run(*arguments: Any) -> Any:
            return jax.tree.map(there, out_mapped, f(*arguments))

        return Mapped(jax.jit(run, donate_argnums=donate))

    def joined(
        self, f: Function, arguments: tuple[Any, ...], mapped: tuple[Flag, ...], like: Any
    ) -> Shares:
        in_specs = tuple(map(self.specs, mapped, arguments))
        means = self.specs(STATE, like)

        def of_share(*parts: Any) -> Shares:
            whole = [
                jax.tree.map(gathered, part, specs) if flag == STATE else part
                for part, specs, flag in zip(parts, in_specs, mapped, strict=True)
            ]
            found = f(*whole)
            mean = jax.tree.map(averaged, found.mean, means)
            return Shares(mean, jax.lax.psum(found.total, AXIS), found.rows)

        out_specs = Shares(means, PartitionSpec(), PartitionSpec(AXIS))
        return jax.shard_map(
            of_share,
            mesh=mesh_of(self.devices),
            in_specs=in_specs,
            out_specs=out_specs,
            check_vma=False,
        )(*arguments)

    def specs(self, flag: Flag, tree: Any) -> Any:
        """How each leaf is split."""
        rows = PartitionSpec(AXIS) if flag is True else PartitionSpec()
        return jax.tree.map(lambda leaf: self.spec(leaf) if flag == STATE else rows, tree)

    def spec(self, leaf: Any) -> PartitionSpec:
        return spec_of(leaf.shape, len(self.devices))

    def place(self, leaf: Any) -> NamedSharding:
        return NamedSharding(mesh_of(self.devices), self.spec(leaf))

    def places(self, shapes: Callable[[], Any]) -> Any:
        return jax.tree.map(self.place, shapes())

    def template(self, shapes: Any) -> Any:
        leaves, count = jax.tree.leaves(shapes), len(self.devices)
        if count > 1 and all(AXIS not in self.spec(leaf) for leaf in leaves):
            largest = max((leaf.shape for leaf in leaves), key=math.prod)
            raise UserError(
                f"data_parallel=fsdp on {count} devices splits nothing of this network: no array of {SMALL} numbers or more has a "
                f"dimension that {count} divides, and the largest is {'x'.join(map(str, largest)) or 'a number'}; take another number of "
                "devices or another model.nf, or data_parallel=shard_map, which has all of it on every device"
            )
        return jax.tree.map(lambda leaf: placed(leaf, self.place(leaf)), shapes)

    def whole(self, tree: Any) -> Any:
        return jax.jit(itself, out_shardings=self.replicated())(tree)
