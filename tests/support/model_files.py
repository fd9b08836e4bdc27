"""Inspect converted model files: operators, tensors, steps and weights."""

from collections import Counter

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import numpy_helper


class Lite:
    """Content of a TFLite file."""

    def __init__(self, path):
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = Interpreter(str(path), experimental_op_resolver_type=plain)
        details = self._interpreter.get_tensor_details()
        self._tensors = {tensor["index"]: tensor for tensor in details}
        self.operators = self._interpreter._get_ops_details()

    def ends(self):
        """Details of all inputs and outputs."""
        return [*self._interpreter.get_input_details(), *self._interpreter.get_output_details()]

    def inputs(self, *kinds):
        """First two inputs of each operator of these kinds: the data and the weights."""
        return [
            tuple(self._tensors.get(index) for index in (*operator["inputs"], None)[:2])
            for operator in self.operators
            if operator["op_name"] in kinds
        ]

    def numbers(self):
        """Number of tensors of each type."""
        return Counter(tensor["dtype"] for tensor in self._tensors.values())

    def steps(self):
        """Step sizes of the 8-bit feature maps."""
        scales = {
            float(tensor["quantization_parameters"]["scales"][0])
            for tensor in self._tensors.values()
            if tensor["dtype"] == np.int8 and len(tensor["quantization_parameters"]["scales"]) == 1
        }
        return sorted(scales)

    def weights(self, tensor):
        """8-bit weights as floats, with the outputs on the last axis."""
        scales = tensor["quantization_parameters"]["scales"]
        assert not tensor["quantization_parameters"]["zero_points"].any()
        assert len(scales) == tensor["shape"][0]
        steps = self._interpreter.get_tensor(tensor["index"]).astype(np.float64)
        return np.moveaxis(steps, 0, -1) * scales


class Onnx:
    """Content of an ONNX file."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        self._values = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
        self._makers = {output: node for node in graph.node for output in node.output}
        self.nodes = list(graph.node)

    def computing(self):
        return [node for node in self.nodes if node.op_type in {"Conv", "MatMul", "Gemm"}]

    def maker(self, name):
        """Type of the node that computes a value; empty for a stored value."""
        return self._makers[name].op_type if name in self._makers else ""

    def is_rounded(self, node):
        """Whether the input of the node is rounded to 8 bits."""
        if self.maker(node.input[0]) != "DequantizeLinear":
            return False
        return self.maker(self._makers[node.input[0]].input[0]) == "QuantizeLinear"

    def steps(self):
        """Step sizes of the 8-bit feature maps."""
        rounding = [node for node in self.nodes if node.op_type == "QuantizeLinear"]
        return sorted({float(self._values[node.input[1]]) for node in rounding})

    def weights(self, node):
        """8-bit weights as floats, with the outputs on the last axis."""
        stored = self._makers[node.input[1]]
        assert stored.op_type == "DequantizeLinear"
        steps, scales, zeros = (self._values[name] for name in stored.input)
        (axis,) = (one.i for one in stored.attribute if one.name == "axis")
        assert steps.dtype == np.int8
        assert not zeros.any()
        assert scales.shape == (steps.shape[axis],)
        if node.op_type != "Conv":
            assert axis == 1
            return steps * scales
        assert axis == 0
        return np.moveaxis(steps * scales.reshape(-1, 1, 1, 1), (0, 1), (-1, -2))
