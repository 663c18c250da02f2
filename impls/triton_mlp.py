"""The network in Triton on a GPU: the whole step is two kernels, which write as little as possible to memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
import triton
import triton.language as tl

from impls.torch_cudagraph_mlp import GraphTrainer, repeated
from impls.torch_lanes import CHUNK

if TYPE_CHECKING:
    from impls.interface import Batches
    from impls.lanes import Device
    from impls.workload import Workload

# Tile sizes, in elements: small enough that a GPU with about 130 multiprocessors has a tile for every one.
ROWS, COLUMNS, DEPTH, INPUTS = 32, 64, 32, 64


@triton.jit
def rounded(x: tl.tensor) -> tl.tensor:
    """Return ``x`` rounded to TF32, which has 10 of the 23 bits of the mantissa, to nearest, which has no bias.

    The carry of the addition would make -0.0 of a GPU's NaN, 0x7FFFFFFF, and hide that a training has diverged.
    """
    nearest = ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return tl.where(x == x, nearest, float("nan"))  # noqa: PLR0124


@triton.jit
def product(a: tl.tensor, b: tl.tensor, total: tl.tensor, precision: tl.constexpr) -> tl.tensor:
    """Return ``total`` + ``a`` @ ``b``; for TF32 the operands are rounded.

    The tensor cores cut off the bits that TF32 lacks: every product would be too small, and the errors would add up.
    """
    if precision == "tf32":
        a, b = rounded(a), rounded(b)
    return tl.dot(a, b, total, input_precision=precision)


@triton.jit
def forward(
    images: tl.tensor,
    w1: tl.tensor,
    b1: tl.tensor,
    w2: tl.tensor,
    b2: tl.tensor,
    place: tl.tensor,
    w2_before: tl.tensor,
    b2_before: tl.tensor,
    place_before: tl.tensor,
    hidden: tl.tensor,
    partial_logits: tl.tensor,
    batch: tl.constexpr,
    inputs: tl.constexpr,
    units: tl.constexpr,
    classes: tl.constexpr,
    rows_tile: tl.constexpr,
    columns_tile: tl.constexpr,
    depth_tile: tl.constexpr,
    classes_tile: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    """Compute a tile of the hidden layer, and what its columns add to the logits.

    The second kernel overwrites w2, b2 and the place while its other programs read them, so this one copies them.
    """
    row, column = tl.program_id(0), tl.program_id(1)
    rows = row * rows_tile + tl.arange(0, rows_tile)
    columns = column * columns_tile + tl.arange(0, columns_tile)
    outputs = tl.arange(0, classes_tile)
    here, kept = rows[:, None] < batch, columns < units
    k = tl.load(place)
    x = images + (k * batch + rows[:, None]) * inputs

    z = tl.zeros((rows_tile, columns_tile), tl.float32)
    for start in range(0, inputs, depth_tile):
        depth = start + tl.arange(0, depth_tile)
        x_tile = tl.load(x + depth[None, :], here & (depth[None, :] < inputs), 0.0)
        w1_tile = tl.load(
            w1 + depth[:, None] * units + columns[None, :], (depth[:, None] < inputs) & kept[None, :], 0.0
        )
        z = product(x_tile, w1_tile, z, precision)
    z += tl.load(b1 + columns, kept, 0.0)[None, :]
    activity = 1 - 2 / (tl.exp(2 * z) + 1)  # tanh
    tl.store(hidden + rows[:, None] * units + columns[None, :], activity, here & kept[None, :])

    at = columns[:, None] * classes + outputs[None, :]
    in_w2 = kept[:, None] & (outputs[None, :] < classes)
    w2_tile = tl.load(w2 + at, in_w2, 0.0)
    logits = product(activity, w2_tile, tl.zeros((rows_tile, classes_tile), tl.float32), precision)
    tl.store(partial_logits + (column * batch + rows[:, None]) * classes_tile + outputs[None, :], logits, here)
    if row == 0:
        tl.store(w2_before + at, w2_tile, in_w2)
        if column == 0:
            tl.store(b2_before + outputs, tl.load(b2 + outputs, outputs < classes), outputs < classes)
            tl.store(place_before, k)


@triton.jit(do_not_specialize_on_alignment=["loss"])
def backward(
    images: tl.tensor,
    labels: tl.tensor,
    w1: tl.tensor,
    b1: tl.tensor,
    w2: tl.tensor,
    b2: tl.tensor,
    place: tl.tensor,
    w2_before: tl.tensor,
    b2_before: tl.tensor,
    place_before: tl.tensor,
    hidden: tl.tensor,
    partial_logits: tl.tensor,
    loss: tl.tensor,
    learning_rate: float,
    batch: tl.constexpr,
    batches: tl.constexpr,
    inputs: tl.constexpr,
    units: tl.constexpr,
    classes: tl.constexpr,
    rows_tile: tl.constexpr,
    columns_tile: tl.constexpr,
    inputs_tile: tl.constexpr,
    classes_tile: tl.constexpr,
    parts: tl.constexpr,
    precision: tl.constexpr,
) -> None:
    """Update a tile of w1; the first program of a column also updates b1 and w2, and the very first b2 and the place.

    Softmax and the backward pass through w2 are so cheap that every program repeats them for its own columns.
    """
    row, column = tl.program_id(0), tl.program_id(1)
    features = row * inputs_tile + tl.arange(0, inputs_tile)
    columns = column * columns_tile + tl.arange(0, columns_tile)
    outputs = tl.arange(0, classes_tile)
    kept, real = columns < units, outputs < classes
    at = columns[:, None] * classes + outputs[None, :]
    in_w2 = kept[:, None] & real[None, :]
    w2_tile = tl.load(w2_before + at, in_w2, 0.0)
    bias = tl.load(b2_before + outputs, real, float("-inf"))  # padding must not count in softmax
    k = tl.load(place_before)

    d_w1 = tl.zeros((inputs_tile, columns_tile), tl.float32)
    d_b1 = tl.zeros((columns_tile,), tl.float32)
    d_w2 = tl.zeros((columns_tile, classes_tile), tl.float32)
    d_b2 = tl.zeros((classes_tile,), tl.float32)
    total = 0.0
    for start in range(0, batch, rows_tile):
        rows = start + tl.arange(0, rows_tile)
        here = rows < batch
        logits = tl.zeros((rows_tile, classes_tile), tl.float32) + bias[None, :]
        for part in range(parts):
            logits += tl.load(
                partial_logits + (part * batch + rows[:, None]) * classes_tile + outputs[None, :], here[:, None], 0.0
            )
        logits -= tl.max(logits, 1)[:, None]
        exp = tl.exp(logits)
        partition = tl.sum(exp, 1)
        true = outputs[None, :] == tl.load(labels + k * batch + rows, here, 0)[:, None]
        d_logits = tl.where(here[:, None], (exp / partition[:, None] - true) / batch, 0.0)

        activity = tl.load(hidden + rows[:, None] * units + columns[None, :], here[:, None] & kept[None, :], 0.0)
        d_hidden = product(d_logits, tl.trans(w2_tile), tl.zeros((rows_tile, columns_tile), tl.float32), precision)
        d_z = d_hidden * (1 - activity * activity)
        x_tile = tl.load(
            images + (k * batch + rows[None, :]) * inputs + features[:, None],
            here[None, :] & (features[:, None] < inputs),
            0.0,
        )
        d_w1 = product(x_tile, d_z, d_w1, precision)
        if row == 0:
            d_b1 += tl.sum(d_z, 0)
            d_w2 = product(tl.trans(activity), d_logits, d_w2, precision)
            if column == 0:
                d_b2 += tl.sum(d_logits, 0)
                total += tl.sum(tl.where(here, tl.log(partition) - tl.sum(tl.where(true, logits, 0.0), 1), 0.0))

    weights = w1 + features[:, None] * units + columns[None, :]
    in_w1 = (features[:, None] < inputs) & kept[None, :]
    tl.store(weights, tl.load(weights, in_w1) - learning_rate * d_w1, in_w1)
    if row == 0:
        tl.store(b1 + columns, tl.load(b1 + columns, kept) - learning_rate * d_b1, kept)
        tl.store(w2 + at, w2_tile - learning_rate * d_w2, in_w2)
        if column == 0:
            tl.store(b2 + outputs, bias - learning_rate * d_b2, real)
            tl.store(place, (k + 1) % batches)
            tl.store(loss, total / batch)


@final
class TritonTrainer(GraphTrainer):
    """What experts write where launches and memory traffic limit the speed; Triton's interpreter runs it on a CPU."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the kernels and capture them."""
        gpu = torch.device(device.in_torch)
        self._batches, rows = len(data), data.batch_size
        images, labels = data.images, torch.as_tensor(data.labels, dtype=torch.int32)
        self._params = tuple(torch.zeros(shape, device=gpu) for shape in workload.shapes.values())
        # Which minibatch is next: on the device, since a graph repeats the values that it was captured with.
        self._place = torch.zeros(1, dtype=torch.int32, device=gpu)
        self._losses = torch.zeros(CHUNK, device=gpu)
        w1, b1, w2, b2 = self._params
        parts = triton.cdiv(workload.hidden, COLUMNS)
        classes_tile = max(16, triton.next_power_of_2(workload.classes))
        before = torch.empty_like(w2), torch.empty_like(b2), torch.empty_like(self._place)
        hidden = torch.empty(rows, workload.hidden, device=gpu)
        partial_logits = torch.empty(parts, rows, classes_tile, device=gpu)
        sizes = {"batch": rows, "inputs": workload.inputs, "units": workload.hidden, "classes": workload.classes}
        sizes |= {"rows_tile": ROWS, "columns_tile": COLUMNS, "classes_tile": classes_tile}
        precision = "tf32" if workload.precision == "tf32" else "ieee"

        def step(number: int) -> None:
            state = w1, b1, w2, b2, self._place, *before, hidden, partial_logits
            forward[triton.cdiv(rows, ROWS), parts](images, *state, **sizes, depth_tile=DEPTH, precision=precision)
            backward[triton.cdiv(workload.inputs, INPUTS), parts](
                *(images, labels, *state, self._losses[number:], workload.learning_rate),
                **sizes,
                batches=self._batches,
                inputs_tile=INPUTS,
                parts=parts,
                precision=precision,
            )

        self._step = step  # keeps its buffers alive: a graph has their addresses, but no references
        self._chunk, self._single = (repeated(step, steps, gpu) for steps in (CHUNK, 1))
