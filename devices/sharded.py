"""Fully sharded data parallelism: the devices share the training state as well as the batch.

Each leaf of the state (parameters, Adam's moments, averaged weights) is split along its largest dimension that is divisible by the
number of devices. The rule depends on its shape only, so a parameter and its moments are split alike. An update (Rajbhandari
et al. 2020, ZeRO stage 3) is then

    all-gather of the parameters -> the usual program of one device -> reduce-scatter of the gradient -> update of the parts

Loss and gradient are sums of the same terms as with replicated states, on a CPU with the same bits. The rest of the update is written
for whole arrays and partitioned by XLA, so that norms are those of the whole gradient, whatever the optimizer. Leaving everything to
XLA would communicate more bytes, and activations as well: docs/training.md.

Programs that do not update a state, such as samplers, have replicated arguments, as in ShardMapDevices.
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
"""Leaves with fewer elements are replicated: 0.9 % of the digits' network, 0.15 % of DDPM++ for CIFAR-10."""


def spec_of(shape: tuple[int, ...], num_devices: int) -> PartitionSpec:
    """Split along the largest dimension divisible by the number of devices, the first of equals; replicate if there is none."""
    divisible = [axis for axis, size in enumerate(shape) if size % num_devices == 0]
    if math.prod(shape) < SMALL or not divisible:
        return PartitionSpec()
    longest = max(divisible, key=lambda axis: shape[axis])
    return PartitionSpec(*[None] * longest, AXIS)


def gathered(part: Array, spec: PartitionSpec) -> Array:
    """Gather a whole leaf from the devices' parts."""
    if AXIS not in spec:
        return part
    return jax.lax.all_gather(part, AXIS, axis=spec.index(AXIS), tiled=True)


def averaged(whole: Array, spec: PartitionSpec) -> Array:
    """This device's part of the mean over devices."""
    if AXIS not in spec:
        return jax.lax.pmean(whole, AXIS)
    axis = spec.index(AXIS)
    total = jax.lax.psum_scatter(whole, AXIS, scatter_dimension=axis, tiled=True)
    return total / jax.lax.axis_size(AXIS)


def itself(tree: Any) -> Any:
    """The identity."""
    return tree


@dataclasses.dataclass(frozen=True)
class FsdpDevices(ShardMapDevices):
    """Data parallelism by `jax.jit` on sharded arrays, with `jax.shard_map` for the computations on each device's part of the batch."""

    def program(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = False, donate: Places = ()
    ) -> Mapped:
        mesh = mesh_of(self.devices)

        def there(flag: Flag, tree: Any) -> Any:
            """Constrain the results to the shardings given by their flags."""
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
        """The partition of each leaf."""
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
