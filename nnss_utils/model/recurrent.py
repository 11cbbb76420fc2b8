"""The method's bidirectional LSTM, arranged to run near a processor's limit (notebook 11_speed).

It is the same function with the same weights as Keras' `Bidirectional(LSTM)`. A recurrence can't be parallel in time,
so everything else is moved out of its loop: the product with the inputs comes before, the gradients of all weights
come after, each as one large matrix product. One small product for both directions is left in each step.
"""

from nnss_utils.model.backend import keras, ops
from nnss_utils.model.backend import layers as nn


@keras.saving.register_keras_serializable(package="nnss")
class BidirectionalLSTM(nn.Layer):
    """Two LSTMs (Hochreiter and Schmidhuber 1997), forwards and backwards in time, with outputs side by side.

    Input (batch, frames, inputs), output (batch, frames, 2 units). Weights have the order, the shapes and the initial
    values of `keras.layers.Bidirectional(LSTM(units, return_sequences=True))`, so `set_weights` moves them between
    both.
    """

    def __init__(self, units: int, **options) -> None:
        """Make a layer of `units` cells in each direction; `options` are those of every Keras layer."""
        super().__init__(**options)
        self.units = units

    def build(self, input_shape) -> None:
        """Make the weights for inputs (batch, frames, inputs)."""
        self.forward_cell = self._cell("forward", input_shape[-1])
        self.backward_cell = self._cell("backward", input_shape[-1])

    def _cell(self, direction: str, inputs: int) -> tuple:
        """Return the (kernel, recurrent kernel, bias) of one direction; gates are input, forget, cell, output."""
        width = 4 * self.units
        return (
            self.add_weight((inputs, width), initializer="glorot_uniform", name=f"{direction}_kernel"),
            self.add_weight((self.units, width), initializer="orthogonal", name=f"{direction}_recurrent_kernel"),
            self.add_weight((width,), initializer=_initial_biases, name=f"{direction}_bias"),
        )

    def call(self, x):
        """Return both directions' outputs of every frame."""
        x = ops.transpose(x, (1, 0, 2))  # a loop over time reads whole blocks
        (kernel, recurrent, bias), (back_kernel, back_recurrent, back_bias) = self.forward_cell, self.backward_cell
        ahead = ops.matmul(x, kernel) + bias
        back = ops.flip(ops.matmul(x, back_kernel) + back_bias, axis=0)
        h = lstm_recurrence(ops.stack([ahead, back], axis=1), recurrent + 0.0, back_recurrent + 0.0)  # values
        return ops.transpose(ops.concatenate([h[:, 0], ops.flip(h[:, 1], axis=0)], axis=-1), (1, 0, 2))

    def compute_output_shape(self, input_shape) -> tuple:
        """Return (batch, frames, 2 units)."""
        return (*input_shape[:-1], 2 * self.units)

    def get_config(self) -> dict:
        """Return what `from_config` needs."""
        return {**super().get_config(), "units": self.units}


def _initial_biases(shape, dtype=None):
    """Return the initial biases, as Keras': 1 for the forget gate, 0 elsewhere (Jozefowicz et al. 2015)."""
    units = shape[0] // 4
    ones, zeros = ops.ones(units, dtype), ops.zeros(units, dtype)
    return ops.concatenate([zeros, ones, zeros, zeros])


@ops.custom_gradient
def lstm_recurrence(inputs, *kernels):
    """Return the outputs (frames, directions, batch, units) of LSTMs whose input products are already made.

    inputs: kernel . x + bias (frames, directions, batch, 4 units), every direction in its own order of time; kernels:
    the recurrent one of each direction (units, 4 units), with a product each, since both as one batch of products run
    at half the speed. The gradient is written out: the one a framework derives from the loop adds up the kernels'
    gradients in every step.
    """
    units = inputs.shape[-1] // 4
    nothing, no_gates = ops.zeros_like(inputs[0, ..., :units]), ops.zeros_like(inputs[0])

    def step(state, x):
        h, c, _ = state
        i, f, g, o = ops.split(x + _products(h, kernels), 4, axis=-1)
        i, f, g, o = ops.sigmoid(i), ops.sigmoid(f), ops.tanh(g), ops.sigmoid(o)
        c = f * c + i * g
        state = (o * ops.tanh(c), c, ops.concatenate([i, f, g, o], axis=-1))
        return state, state  # TensorFlow's scan wants outputs like the state

    _, (outputs, cells, gates) = ops.scan(step, (nothing, nothing, no_gates), inputs)

    def gradient(*arguments, upstream=None):
        if upstream is None:
            (upstream,) = arguments
        before = ops.concatenate([nothing[None], cells[:-1]], axis=0)
        transposed = [ops.transpose(kernel) for kernel in kernels]

        def step_back(state, x):
            dc, dz = state
            dh, gate, c, c_before = x
            i, f, g, o = ops.split(gate, 4, axis=-1)
            dh = dh + _products(dz, transposed)
            tanh_c = ops.tanh(c)
            dc = dc + dh * o * (1 - tanh_c * tanh_c)
            dz = [dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)]
            state = (dc * f, ops.concatenate(dz, axis=-1))
            return state, state

        _, (_, d_inputs) = ops.scan(step_back, (nothing, no_gates), (upstream, gates, cells, before), reverse=True)
        heard = ops.concatenate([nothing[None], outputs[:-1]], axis=0)
        directions = range(len(kernels))
        d_kernels = [ops.matmul(ops.transpose(_rows(heard, d)), _rows(d_inputs, d)) for d in directions]
        return d_inputs, *d_kernels

    return outputs, gradient


def _products(x, kernels):
    """Return x (directions, batch, n) times each direction's own kernel (n, m)."""
    return ops.stack([ops.matmul(x[d], kernel) for d, kernel in enumerate(kernels)])


def _rows(x, direction: int):
    """Return one direction of (frames, directions, batch, n) as (frames x batch, n)."""
    return ops.reshape(x[:, direction], (-1, x.shape[-1]))
