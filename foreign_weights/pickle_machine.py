"""Pickle's stack machine, restricted to data and bounded in size.

Python's unpickler does whatever a file asks for. It hashes nested tuples, which takes forever if a few bytes with shared
references unfold to billions of values, and its result may be nested too deeply to be inspected. This machine has only the
instructions that PyTorch writes, allows only strings and integers as keys of dictionaries, and refuses large values. The
caller decides what names and persistent references stand for; nothing else is ever called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from score_sde.errors import UserError
from score_sde.quoting import quoted

# The checkpoint of the largest published network has 200,000 instructions in 5 MB, nested six deep.
MAX_BYTES = 1 << 26
MAX_INSTRUCTIONS = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 1 << 20  # counting shared values each time

CONTAINERS = (list, tuple, dict)


class Machine:
    """Runs one pickle.

    Args:
      resolve: returns what (module, name) stands for; refuses unknown names.
      refer: returns what a persistent id stands for.
    """

    def __init__(self, resolve: Callable[[str, str], Any], refer: Callable[[Any], Any]):
        self.resolve, self.refer = resolve, refer
        self.stack: list[Any] = []
        self.marks: list[int] = []  # positions in the stack
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> Any:
        """Run the next pickle of a stream and return its value.

        Raises:
          UserError: an instruction that no checkpoint needs, or a limit is exceeded.
          Exception: any other error, for damaged bytes.
        """
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_INSTRUCTIONS:
                raise UserError(f"the file's pickle has more than {MAX_INSTRUCTIONS} instructions")
            if opcode.name not in INSTRUCTIONS:
                raise UserError(
                    f"the file's pickle has the instruction {opcode.name} {quoted(argument)}, which no checkpoint needs; it is "
                    "not read"
                )
            INSTRUCTIONS[opcode.name](self, argument)
        value = self.pop()
        check_bounds(value)
        return value

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise IndexError("the stack is empty")
        return self.stack.pop()

    def pop_marked(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def push_tuple(self, size: int) -> None:
        self.push(tuple([self.pop() for _ in range(size)][::-1]))

    def extend(self, items: Iterable[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError("a list is extended that is none")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("a dictionary is filled that is none")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):
                raise UserError(
                    f"the file's pickle has a dictionary with {quoted(key)} for a name; checkpoints have texts and integers"
                )
            target[key] = value

    def remember(self, number: int | None) -> None:
        self.memo[len(self.memo) if number is None else number] = self.stack[-1]

    def find(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("a name is no text")
        self.push(self.resolve(module, name))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(arguments) is not tuple:
            raise TypeError("a call with something else than arguments")
        self.push(function(*arguments))

    def build(self) -> None:
        state = self.pop()
        self.stack[-1].set_state(state)

    def append(self) -> None:
        value = self.pop()
        self.extend([value])

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.update([key, value])


Instruction = Callable[[Machine, Any], None]

# The instructions that PyTorch writes, by default (protocol 2) and on request (protocol 4), and BINBYTES, which holds the data of NumPy arrays.
# All other ways to create or call an object are left out, above all EXT, INST, OBJ and NEWOBJ.
INSTRUCTIONS: dict[str, Instruction] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(
        "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE SHORT_BINBYTES BINBYTES".split(),
        Machine.push,
    ),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "TUPLE1": lambda machine, _: machine.push_tuple(1),
    "TUPLE2": lambda machine, _: machine.push_tuple(2),
    "TUPLE3": lambda machine, _: machine.push_tuple(3),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": lambda machine, _: machine.append(),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_marked()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": lambda machine, _: machine.set_item(),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_marked()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), Machine.remember),
    **dict.fromkeys(
        ("BINGET", "LONG_BINGET"), lambda machine, number: machine.push(machine.memo[number])
    ),
    "GLOBAL": lambda machine, name: machine.push(machine.resolve(*str(name).split(" ", 1))),
    "STACK_GLOBAL": lambda machine, _: machine.find(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.push(machine.refer(machine.pop())),
}


def check_bounds(root: Any) -> None:
    """Refuse a value that contains itself, is nested too deeply, or would be too large if nothing in it were shared."""
    measured: dict[int, tuple[int, int]] = {}  # id of a container -> depth and number of values
    begun: set[int] = set()
    pending = [root]
    while pending:
        value = pending[-1]
        if not isinstance(value, CONTAINERS) or id(value) in measured:
            pending.pop()
            continue
        parts = list(value.values() if isinstance(value, dict) else value)
        if id(value) not in begun:
            begun.add(id(value))
            inside = [part for part in parts if isinstance(part, CONTAINERS)]
            # Containers that are begun but not yet measured are the ancestors of this one.
            if any(id(part) in begun and id(part) not in measured for part in inside):
                raise UserError("the file's pickle has a value that contains itself")
            pending += inside
            continue
        sizes = [measured.get(id(part), (0, 1)) for part in parts]
        depth = 1 + max((depth for depth, _ in sizes), default=0)
        count = 1 + sum(count for _, count in sizes)
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise UserError(
                f"the file's pickle is nested more than {MAX_DEPTH} deep"
                if depth > MAX_DEPTH
                else f"the file's pickle would be more than {MAX_VALUES} values if nothing in it were shared"
            )
        measured[id(value)] = depth, count
        pending.pop()
