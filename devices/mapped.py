"""A function over the devices that share a batch, by `jax.pmap` or by `jax.jit` of `jax.shard_map`.

Both give a device its own rows of the mapped arguments and all of the others, and differ in how a split array looks from
outside: pmap's has an axis of devices in front, (devices, b, ...) of one host, while shard_map's is one array (B, ...)
over all hosts. Callers never look: they `split`, pass on, and `gather`.

The training state is whole on every device here; sharded.py splits it too.
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
"""The name under which collectives inside a mapped function join the devices."""
STATE: Literal["state"] = "state"
"""The flag of what lies as the training state does: whole on every device, or split by its leaves (sharded.py)."""

Function = Callable[..., Any]
Places = tuple[int, ...]  # of arguments
Flag = bool | Literal["state"]
"""Of an argument or a result: split over the devices by rows, whole on each, or STATE."""


class Shares(NamedTuple):
    """What one device makes of its share of a batch; from `Devices.joined`, what all of them make together."""

    mean: Any
    """To be averaged over the devices; then it lies as the training state does."""
    total: Any = ()
    """To be added over the devices; then it is whole on each."""
    rows: Any = ()
    """Of the device's own images, (b, ...); it stays split."""


class Mapped:
    """A function compiled for all devices."""

    def __init__(self, run: Any, *beside: Any):
        """`run`, of jax.jit or jax.pmap, is called with the arguments and what is `beside`."""
        self.run, self.beside = run, beside

    def __call__(self, *arguments: Any) -> Any:
        return self.run(*arguments, *self.beside)

    def lower(self, *arguments: Any) -> Any:
        """JAX's `Lowered` of a call with these arguments, or with their shapes: not compiled yet."""
        return self.run.lower(*arguments, *self.beside)

    def memory(self, *arguments: Any) -> int | None:
        """Bytes that a call allocates on each device beside its arguments, without calling it; None if unknown."""
        found = self.lower(*arguments).compile().memory_analysis()
        if found is None:
            return None
        # What the results take over from donated arguments is no new memory.
        new = found.output_size_in_bytes - found.alias_size_in_bytes
        return found.temp_size_in_bytes + new


@dataclasses.dataclass(frozen=True)
class Devices(abc.ABC):
    """The devices, of all hosts, that share a batch."""

    devices: tuple[jax.Device, ...] = dataclasses.field(default_factory=lambda: (*jax.devices(),))
    batch_axes: ClassVar[int] = 1
    """Axes of a split array that run over images."""

    @property
    def platform(self) -> str:
        """cpu, gpu or tpu: of these devices, which a program can be compiled for on a machine that has others."""
        return self.devices[0].platform

    @abc.abstractmethod
    def data_parallel(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = True, donate: Places = ()
    ) -> Mapped:
        """f compiled for all devices.

        Args:
          f: of arrays as one device has them, (b, ...) for the mapped ones.
          mapped: for each argument, whether it is split over the devices (see `split`) or whole on each.
          out_mapped: the same of the results, a bool or a tree of them that begins f's result; what is not mapped
            must be the same on every device.
          donate: places of arguments whose memory the results may take over.
        """

    @abc.abstractmethod
    def split(self, tree: Any) -> Any:
        """This host's rows, leaves (rows, ...), over its devices: what mapped arguments take."""

    def program(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = False, donate: Places = ()
    ) -> Mapped:
        """f compiled for all devices, of a training state and a batch, which it passes to `joined`.

        What comes back from there is the same on every device, or is split and seen as a whole: f may compute norms and updates
        of it as on one device, and must not use collectives itself. Arguments as of `data_parallel`, with STATE among the flags.
        """
        return self.data_parallel(f, mapped, out_mapped, donate)

    def joined(
        self, f: Function, arguments: tuple[Any, ...], mapped: tuple[Flag, ...], like: Any
    ) -> Shares:
        """Within a `program`: f(*arguments), the Shares of one device, joined over the devices.

        Args:
          f: sees its own rows of the mapped arguments, and all of the others, of those that are STATE too.
          like: arrays with the shapes of f's means.
        """
        found = f(*arguments)
        return Shares(jax.lax.pmean(found.mean, AXIS), jax.lax.psum(found.total, AXIS), found.rows)

    def gather(self, tree: Any, count: int) -> Any:
        """The first `count` rows of a mapped result, of all hosts, as NumPy arrays (count, ...)."""
        return jax.tree.map(lambda leaf: of_all_hosts(leaf, self.batch_axes)[:count], tree)

    def replicated(self) -> NamedSharding:
        """Where arrays lie that are whole on every device, such as resident images."""
        return replicated(self.devices)

    def place(self, leaf: Any) -> NamedSharding:
        """Where a leaf of the training state lies, anything with its shape."""
        return self.replicated()

    def places(self, shapes: Callable[[], Any]) -> Any:
        """Where all leaves of the training state lie, as a tree that begins it.

        Its shapes, for which the network must be traced, are asked for only where the places depend on them.
        """
        return self.replicated()

    def template(self, shapes: Any) -> Any:
        """The shapes of a training state, each with where it lies as an array of all hosts: what a checkpoint is read into.

        Raises:
          UserError: this way of sharing can do nothing for such a state.
        """
        return jax.tree.map(lambda leaf: placed(leaf, replicated(self.devices)), shapes)

    def whole(self, tree: Any) -> Any:
        """A part of the training state, whole on every device."""
        return tree

    def checkpointable(self, tree: Any) -> Any:
        """A training state as arrays of all hosts, which Orbax asks for."""
        return tree


class PmapDevices(Devices):
    """By `jax.pmap`."""

    batch_axes: ClassVar[int] = 2

    @property
    def local(self) -> list[jax.Device]:
        return [device for device in self.devices if device.process_index == jax.process_index()]

    def data_parallel(
        self, f: Function, mapped: tuple[Flag, ...], out_mapped: Any = True, donate: Places = ()
    ) -> Mapped:
        def axes(flags: Any) -> Any:
            return jax.tree.map(lambda flag: 0 if flag is True else None, flags)

        # With one more argument, an empty tree. Without it pmap (jax 0.10.2) gives a leaf the axis of another argument
        # where arguments of many leaves and of none add up to as many leaves as arguments.
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
        # Each host has copies of its own: pmap takes and gives such.
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
    """By `jax.jit(jax.shard_map(...))`.

    Without shard_map's check of what varies over devices, in which diffrax's `diffeqsolve` fails (diffrax#735).
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
    """f by `jax.jit`, under the axis of one device: for what may ask for the axis but is too small to share."""
    return jax.jit(jax.vmap(f, in_axes=None, out_axes=None, axis_size=1, axis_name=AXIS))


def mesh_of(devices: Iterable[jax.Device]) -> Mesh:
    """A mesh of one axis over these devices."""
    return Mesh(np.array([*devices]), (AXIS,))


def replicated(devices: Iterable[jax.Device] | None = None) -> NamedSharding:
    """A copy on every one of these devices; of all, over all hosts, by default."""
    return NamedSharding(mesh_of(jax.devices() if devices is None else devices), PartitionSpec())


def placed(leaf: Any, place: NamedSharding) -> jax.ShapeDtypeStruct:
    """The shape of an array that lies there."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def of_all_hosts(leaf: jax.Array, axes: int) -> np.ndarray:
    """A split array, of which so many axes run over images, as rows (B, ...) of all hosts in their order."""
    local = np.concatenate([np.asarray(shard.data) for shard in leaf.addressable_shards])
    local = local.reshape(-1, *leaf.shape[axes:])
    if jax.process_count() == 1:
        return local
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(local, tiled=True))
