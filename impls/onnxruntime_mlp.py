"""The network in ONNX Runtime: a graph in ONNX, its gradient graph and its SGD, by the API for on-device training."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, final

import numpy as np
import onnx
import onnxruntime
from onnxruntime.training import artifacts
from onnxruntime.training.api import CheckpointState, Module, Optimizer

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload

# z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both.
LEAKY = """
    one = Constant<value_float = 1.0>()
    two = Constant<value_float = 2.0>()
    up = Add(one, leak)
    down = Sub(one, leak)
    size = Abs(z)
    linear = Mul(up, z)
    bent = Mul(down, size)
    twice = Add(linear, bent)
    hidden = Div(twice, two)
"""
CLIP = """
    low = Constant<value_float = {low}>()
    high = Constant<value_float = {high}>()
    hidden = Clip(moved, low, high)
"""
# The largest unit of each group; equal maxima share the gradient. ReduceMax has none.
MAXOUT = """
    shape = Constant<value_ints = [0, -1, {n_pool}]>()
    axis = Constant<value_ints = [2]>()
    units = Reshape(z, shape)
    maximum = ReduceMax<axes = [2]>(units)
    is_largest = Equal(units, maximum)
    largest = Cast<to = 1>(is_largest)
    count = ReduceSum(largest, axis)
    share = Div(largest, count)
    shared = Mul(units, share)
    hidden = ReduceSum<keepdims = 0>(shared, axis)
"""

ACTIVATIONS = {
    "tanh": "hidden = Tanh(z)",
    "sigmoid": "hidden = Sigmoid(z)",
    "hard_sigmoid": "half = Constant<value_float = 0.5>() moved = Add(z, half)" + CLIP.format(low=0.0, high=1.0),
    "hard_tanh": "moved = Identity(z)" + CLIP.format(low=-1.0, high=1.0),
    "relu": "leak = Constant<value_float = 0.0>()" + LEAKY,
    "leaky_relu": "leak = Constant<value_float = {leak}>()" + LEAKY,
    "prelu": LEAKY,
    "maxout": MAXOUT,
}


def network(workload: Workload) -> onnx.ModelProto:
    """Return the graph from a minibatch (batch, inputs) to the logits (batch, classes), with weights that are 0."""
    hidden_layer = "hidden = Identity(x)"
    if workload.model == "mlp":
        activation = ACTIVATIONS[workload.activation].format(leak=float(workload.leak), n_pool=workload.n_pool)
        hidden_layer = f"z = Gemm(x, w1, b1) {activation}"
    rows, inputs, classes = workload.batch_size, workload.inputs, workload.classes
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        network (float[{rows}, {inputs}] x) => (float[{rows}, {classes}] logits) {{
            {hidden_layer}
            logits = Gemm(hidden, w2, b2)
        }}"""
    )
    for name, shape in workload.shapes.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))
    return model


@final
class OnnxruntimeTrainer(Trainer):
    """What ONNX Runtime's users wrote: artifacts of a graph, and a module and an optimizer that are made of them."""

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return images (rows, inputs) and labels (rows,), int64 as the loss takes them; both are numpy's."""
        del device
        return Batches(data.images, data.labels.astype(np.int64), data.batch_size)

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the graphs and load them; ``device`` can only be the CPU."""
        del device
        onnxruntime.set_default_logger_severity(3)  # errors only
        self._images, self._labels = (
            [onnxruntime.OrtValue.ortvalue_from_numpy(part) for part in np.split(array, len(data))]
            for array in (data.images, data.labels)
        )
        self._names = list(workload.shapes)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        with TemporaryDirectory() as folder:
            artifacts.generate_artifacts(
                network(workload),
                requires_grad=self._names,
                loss=artifacts.LossType.CrossEntropyLoss,
                optimizer=artifacts.OptimType.SGD,
                artifact_directory=folder,
            )
            self._state = CheckpointState.load_checkpoint(f"{folder}/checkpoint")
            self._module = Module(f"{folder}/training_model.onnx", self._state, session_options=options)
            self._optimizer = Optimizer(f"{folder}/optimizer_model.onnx", self._module)
        self._optimizer.set_learning_rate(workload.learning_rate)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for name, given in zip(self._names, params, strict=True):
            self._state.parameters[name] = given

    def _step(self, k: int) -> np.float32:
        loss = self._module(self._images[k], self._labels[k])
        self._optimizer.step()
        self._module.lazy_reset_grad()
        return np.float32(loss.numpy())

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; ONNX Runtime has finished each call when it returns."""
        return np.array([self._step(step % len(self._images)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(self._state.parameters[name].data.copy() for name in self._names)
