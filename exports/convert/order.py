"""Put an ONNX graph into an order of its own, so that one network always gives the same bytes.

tf2onnx orders and names by chance: by hashes of texts, which differ from one Python to the next.
"""

import re
from collections.abc import Iterable
from typing import Any


def put_in_order(graph: Any) -> None:
    """Order and name all nodes and constants by how the outputs hang on them.

    The names of inputs and outputs stay.
    """
    makers = {name: node for node in graph.node for name in node.output}
    constants = {constant.name: constant for constant in graph.initializer}
    kept = {value.name for value in (*graph.input, *graph.output)}
    names = _in_order_of_use(graph, makers)
    renamed = {
        name: name if name in kept else _renamed(name, number, is_constant=name not in makers)
        for number, name in enumerate(names)
    }
    nodes = {id(makers[name]): makers[name] for name in names if name in makers}
    for node in nodes.values():
        # An input that is left out has no name.
        inputs = [renamed.get(name, "") for name in node.input]
        node.input[:] = inputs
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.name = node.output[0]
    used = [constants[name] for name in names if name in constants]
    for constant in used:
        constant.name = renamed[constant.name]
    # Shapes that were noted on the way; whoever needs them infers them.
    del graph.value_info[:]
    _replace(graph.node, nodes.values())
    _replace(graph.initializer, used)
    _replace(graph.output, sorted(graph.output, key=lambda value: value.name))


def _in_order_of_use(graph: Any, makers: dict[str, Any]) -> list[str]:
    """What the outputs need, each thing after all that it needs itself."""
    names: dict[str, None] = {}
    waiting = sorted((value.name for value in graph.output), reverse=True)
    while waiting:
        name = waiting[-1]
        needed = makers[name].input if name in makers else ()
        left = [one for one in needed if one and one not in names]
        if name not in names and left:
            waiting += reversed(left)
            continue
        names.setdefault(waiting.pop())
    return list(names)


def _renamed(name: str, number: int, *, is_constant: bool) -> str:
    # Equal constants are one, which is called after any of those that use it.
    base = "constant" if is_constant else re.sub(r"(__\d+)+", "", name)
    return f"{base}__{number}"


def _replace(field: Any, ordered: Iterable[Any]) -> None:
    copies = [type(one).FromString(one.SerializeToString()) for one in ordered]
    del field[:]
    field.extend(copies)
