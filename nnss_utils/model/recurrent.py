"""The method's bidirectional LSTM, arranged to run near a processor's limit (notebook 11_speed). It is the same
function with the same weights as Keras' `Bidirectional(LSTM)`. A recurrence can't be parallel in time: the product with
the inputs comes before its loop, the gradients of all weights after it, each one large matrix product."""

from nnss_utils.model.backend import keras, ops
from nnss_utils.model.backend import layers as nn


@keras.saving.register_keras_serializable(package="nnss")
class BidirectionalLSTM(nn.Layer):
    """Two LSTMs (Hochreiter and Schmidhuber 1997), forwards and backwards: (batch, frames, inputs) to (..., 2 units).
    Weights, their order and initial values are as in `keras.layers.Bidirectional(LSTM(units,
    return_sequences=True))`."""

    def __init__(self, units: int, **options) -> None:
        """Make a layer of `units` cells in each direction; `options` are those of every Keras layer."""
        super().__init__(**options)
        self.units = units

    def build(self, input_shape) -> None:
        """Make the weights for inputs (batch, frames, inputs); gates are input, forget, cell, output."""
        width = 4 * self.units
        self.cells = tuple(
            (
                self.add_weight((input_shape[-1], width), initializer="glorot_uniform", name=f"{direction}_kernel"),
                self.add_weight((self.units, width), initializer="orthogonal", name=f"{direction}_recurrent_kernel"),
                self.add_weight((width,), initializer=_initial_biases, name=f"{direction}_bias"),
            )
            for direction in ("forward", "backward")
        )

    def call(self, x):
        """Return both directions' outputs of every frame."""
        x = ops.transpose(x, (1, 0, 2))  # a loop over time reads whole blocks
        (kernel, recurrent, bias), (back_kernel, back_recurrent, back_bias) = self.cells
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
    return ops.repeat(ops.convert_to_tensor([0, 1, 0, 0], dtype), shape[0] // 4)


@ops.custom_gradient
def lstm_recurrence(inputs, *kernels):
    """Return the outputs (frames, directions, batch, units) of LSTMs whose input products are already made. inputs:
    kernel . x + bias (frames, directions, batch, 4 units), every direction in its own order of time; kernels: the
    recurrent one of each direction (units, 4 units); one batch of their products would run at half the speed. The
    gradient is written out: a framework's own would add up the kernels' gradients in every step."""
    nothing, no_gates = ops.zeros_like(inputs[0, ..., : inputs.shape[-1] // 4]), ops.zeros_like(inputs[0])

    def step(state, x):
        h, c, _ = state
        i, f, g, o = ops.split(x + _products(h, kernels), 4, axis=-1)
        i, f, g, o = ops.sigmoid(i), ops.sigmoid(f), ops.tanh(g), ops.sigmoid(o)
        c = f * c + i * g
        state = (o * ops.tanh(c), c, ops.concatenate([i, f, g, o], axis=-1))
        return state, state  # TensorFlow's scan wants outputs like the state

    _, (outputs, cells, gates) = ops.scan(step, (nothing, nothing, no_gates), inputs)

    def gradient(*arguments, upstream=None):
        upstream = arguments[0] if upstream is None else upstream
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
        rows = [[ops.reshape(x[:, d], (-1, x.shape[-1])) for x in (heard, d_inputs)] for d in range(len(kernels))]
        return d_inputs, *(ops.matmul(ops.transpose(h), d) for h, d in rows)

    return outputs, gradient


def _products(x, kernels):
    """Return x (directions, batch, n) times each direction's own kernel (n, m)."""
    return ops.stack([ops.matmul(x[d], kernel) for d, kernel in enumerate(kernels)])
