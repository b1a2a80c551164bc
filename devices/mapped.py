"""Data-parallel functions, by `jax.pmap` or by `jax.jit` of `jax.shard_map`.

Both give each device its own rows of the mapped arguments and the whole of all others. They differ in the layout of split arrays:
pmap's have a leading axis of this host's devices, (devices, b, ...), while shard_map's are global arrays (B, ...) over all
hosts. Callers need not know: they only `split`, pass arrays on, and `gather`.

Here the training state is replicated on every device; sharded.py splits it as well.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "devices"
"""Name of the device axis, for collectives inside a mapped function."""
STATE: Literal["state"] = "state"
"""The flag of values with the layout of the training state: replicated, or split leaf by leaf (sharded.py)."""

Function = Callable[..., Any]
Places = tuple[int, ...]  # of arguments
Flag = bool | Literal["state"]
"""Layout of an argument or result: True, rows split over the devices; False, replicated; or STATE."""


class Shares(NamedTuple):
    """The results of one device for its shard of a batch; those returned by `Devices.joined` are of all devices together."""

    mean: Any
    """To be averaged over the devices; the average has the layout of the training state."""
    total: Any = ()
    """To be summed over the devices; the sum is replicated."""
    rows: Any = ()
    """Per-image results of the device's own images (b, ...), which stay split."""


class Mapped:
    """A function compiled for all devices."""

    def __init__(self, run: Any, *beside: Any):
        """Wrap `run`, made by jax.jit or jax.pmap, which is called with the arguments followed by `beside`."""
        self.run, self.beside = run, beside

    def __call__(self, *arguments: Any) -> Any:
        return self.run(*arguments, *self.beside)

    def lower(self, *arguments: Any) -> Any:
        """Lower a call with these arguments, or their shapes, without compiling: JAX's `Lowered`."""
        return self.run.lower(*arguments, *self.beside)

    def memory(self, *arguments: Any) -> int | None:
        """Bytes that a call allocates per device in addition to its arguments, without calling it; None if unknown."""
        found = self.lower(*arguments).compile().memory_analysis()
        if found is None:
            return None
        # Results that reuse the memory of donated arguments need no new memory.
        new = found.output_size_in_bytes - found.alias_size_in_bytes
        return found.temp_size_in_bytes + new


@dataclasses.dataclass(frozen=True)
class Devices(abc.ABC):
    """The devices of all hosts, which share a batch."""

    devices: tuple[jax.Device, ...] = dataclasses.field(default_factory=lambda: (*jax.devices(),))
    batch_axes: ClassVar[int] = 1
    """Number of leading axes of a split array that run over images."""

    @property
    def platform(self) -> str:
        """The platform of these devices, cpu, gpu or tpu; when compiling ahead of time it may not be that of this machine."""
        return self.devices[0].platform

    @abc.abstractmethod
    def data_parallel(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = True, donate: Places = ()
    ) -> Mapped:
        """Compile f for all devices.

        Args:
          f: a function of the arrays of one device, (b, ...) for the mapped ones.
          mapped: for each argument, whether it is split over the devices (see `split`) or replicated.
          out_mapped: the same for the results, as a flag or a prefix tree of flags; a result that is not mapped
            must be equal on all devices.
          donate: indices of arguments whose memory may be reused for results.
        """

    @abc.abstractmethod
    def split(self, tree: Any) -> Any:
        """Split this host's rows, leaves (rows, ...), over its devices, as mapped arguments must be."""

    def program(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = False, donate: Places = ()
    ) -> Mapped:
        """Compile f, a function of a training state and a batch that calls `joined`, for all devices.

        The results of `joined` are either replicated or global arrays, so f can compute norms and updates from them as on a single device;
        it must not use collectives itself. Arguments are those of `data_parallel`, with STATE as an additional flag.
        """
        return self.data_parallel(f, mapped, out_mapped, donate)

    def joined(
        self, f: Function, arguments: tuple[Any, ...], mapped: tuple[Flag, ...], like: Any
    ) -> Shares:
        """Within a `program`: compute the Shares f(*arguments) of each device and combine them over the devices.

        Args:
          f: a function of one device's rows of the mapped arguments and the whole of all others, including those flagged STATE.
          like: arrays with the shapes of the `mean` of f.
        """
        found = f(*arguments)
        return Shares(jax.lax.pmean(found.mean, AXIS), jax.lax.psum(found.total, AXIS), found.rows)

    def gather(self, tree: Any, count: int) -> Any:
        """Gather the first `count` rows of a mapped result from all hosts, as NumPy arrays (count, ...)."""
        return jax.tree.map(lambda leaf: of_all_hosts(leaf, self.batch_axes)[:count], tree)

    def replicated(self) -> NamedSharding:
        """The sharding of replicated arrays, such as a dataset held on the devices."""
        return replicated(self.devices)

    def place(self, leaf: Any) -> NamedSharding:
        """The sharding of a leaf of the training state, given anything with its shape."""
        return self.replicated()

    def places(self, shapes: Callable[[], Any]) -> Any:
        """The shardings of the training state, as a prefix tree.

        `shapes`, which has to trace the network, is called only if the shardings depend on it.
        """
        return self.replicated()

    def template(self, shapes: Any) -> Any:
        """Shapes and global shardings of a training state, into which a checkpoint is read.

        Raises:
          UserError: this kind of parallelism has no effect on such a state.
        """
        return jax.tree.map(lambda leaf: placed(leaf, replicated(self.devices)), shapes)

    def whole(self, tree: Any) -> Any:
        """Replicate a part of the training state on every device."""
        return tree

    def checkpointable(self, tree: Any) -> Any:
        """A training state as global arrays, as Orbax requires."""
        return tree


class PmapDevices(Devices):
    """Data parallelism by `jax.pmap`."""

    batch_axes: ClassVar[int] = 2

    @property
    def local(self) -> list[jax.Device]:
        return [device for device in self.devices if device.process_index == jax.process_index()]

    def data_parallel(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = True, donate: Places = ()
    ) -> Mapped:
        def axes(flags: Any) -> Any:
            return jax.tree.map(lambda flag: 0 if flag is True else None, flags)

        # An additional empty argument works around pmap (jax 0.10.2), which assigns axes to the wrong leaves when the
        # total number of leaves happens to equal the number of arguments.
        run = jax.pmap(
            lambda *arguments: f(*arguments[:-1]),
            axis_name=AXIS,
            in_axes=(*axes(mapped), ()),
            out_axes=axes(out_mapped),
            donate_argnums=donate,
            devices=self.devices,
        )
        return Mapped(run, ())

    def split(self, tree: Any) -> Any:
        num = len(self.local)
        return jax.tree.map(lambda leaf: leaf.reshape(num, -1, *leaf.shape[1:]), tree)

    def replicated(self) -> NamedSharding:
        # Only this host's devices: pmap takes and returns arrays that are local to a host.
        return replicated(self.local)

    def checkpointable(self, tree: Any) -> Any:
        if jax.process_count() == 1:
            return tree
        everywhere = replicated(self.devices)

        def of_one(array: jax.Array) -> jax.Array:
            copies = [shard.data for shard in array.addressable_shards]
            return jax.make_array_from_single_device_arrays(array.shape, everywhere, copies)

        return jax.tree.map(of_one, tree)


class ShardMapDevices(Devices):
    """Data parallelism by `jax.jit(jax.shard_map(...))`.

    shard_map's check of varying values (check_vma) is off, because diffrax's `diffeqsolve` fails under it (diffrax#735).
    """

    def data_parallel(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = True, donate: Places = ()
    ) -> Mapped:
        def specs(flags: Any) -> Any:
            return jax.tree.map(
                lambda flag: PartitionSpec(AXIS) if flag is True else PartitionSpec(), flags
            )

        mesh, out_specs = mesh_of(self.devices), specs(out_mapped)
        sharded = jax.shard_map(
            f, mesh=mesh, in_specs=specs(mapped), out_specs=out_specs, check_vma=False
        )
        return Mapped(jax.jit(sharded, donate_argnums=donate))

    def split(self, tree: Any) -> Any:
        sharding = NamedSharding(mesh_of(self.devices), PartitionSpec(AXIS))
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
        )


def on_one_device(f: Function) -> Function:
    """Jit f on a single device, with the axis AXIS of size 1 in scope for collectives."""
    return jax.jit(jax.vmap(f, in_axes=None, out_axes=None, axis_size=1, axis_name=AXIS))


def mesh_of(devices: Iterable[jax.Device]) -> Mesh:
    """A mesh with the single axis AXIS over these devices."""
    return Mesh(np.array([*devices]), (AXIS,))


def replicated(devices: Iterable[jax.Device] | None = None) -> NamedSharding:
    """The sharding with a copy on each of these devices, by default on all devices of all hosts."""
    return NamedSharding(mesh_of(jax.devices() if devices is None else devices), PartitionSpec())


def placed(leaf: Any, place: NamedSharding) -> jax.ShapeDtypeStruct:
    """The shape and dtype of a leaf, with this sharding."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def of_all_hosts(leaf: jax.Array, axes: int) -> np.ndarray:
    """Gather the rows (B, ...) of a split array, whose first `axes` axes run over images, from all hosts in order."""
    local = np.concatenate([np.asarray(shard.data) for shard in leaf.addressable_shards])
    local = local.reshape(-1, *leaf.shape[axes:])
    if jax.process_count() == 1:
        return local
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(local, tiled=True))
