"""What the tests of ONNX files share: files of modules, and files written node by node."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from wavedil.export import quiet
from wavedil.receptive import Field
from wavedil.receptive.trace.onnx import receptive_field_of_onnx

# An input whose length is left open, and weights for it.
OPEN = {"x": [1, 1, "time"]}
KERNEL = np.ones((1, 1, 3), np.float32)


def exported(path, module, x, dynamic=(-1,)) -> str:
    """A file of a module, with these axes of its input left open."""
    shapes = {x.ndim + axis: torch.export.Dim.DYNAMIC for axis in dynamic}
    with quiet():
        program = torch.onnx.export(module.eval(), (x,), dynamo=True, verbose=False, dynamic_shapes=[shapes])
    assert program is not None
    onnx.save(program.model_proto, str(path))
    return str(path)


def written(path, nodes, inputs, outputs, constants=None, functions=()) -> str:
    """A file of nodes ``(operator, inputs, outputs, attributes)``."""
    made = [
        helper.make_node(operator, takes, gives, name=f"node_{gives[0]}", **attributes)
        for operator, takes, gives, attributes in nodes
    ]
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("custom", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, functions=functions, ir_version=10), str(path))
    return str(path)


def field_of(path, **options) -> Field:
    """Of time."""
    return receptive_field_of_onnx(path, **options).axes.time.field


def conv_node(takes, gives, **attributes):
    """A convolution with the weights above, for :func:`written`."""
    return ("Conv", [takes, "kernel"], [gives], attributes)
