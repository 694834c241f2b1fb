"""Optimizers on TensorFlow's fused update operations, which pass over the memory once."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from mnist_bench.scenarios.hyperparameters import Optimizer

# Adam's constants in the author's program.
_BETA_1 = 0.9
_BETA_2 = 0.999
_EPSILON = 1e-8

_MOMENTUM = 0.9


class Adam:
    """Adam with the constants of the author's program, for float32 variables."""

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        self._variables = variables
        self._moments = [(_zeros_like(v), _zeros_like(v)) for v in variables]

    def apply(
        self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor, updates: tf.Tensor
    ) -> None:
        """Apply update number `updates`, from 1 on, float32 (), like the learning rate."""
        for variable, (first, second), gradient in zip(
            self._variables, self._moments, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=tf.pow(_BETA_1, updates),
                beta2_power=tf.pow(_BETA_2, updates),
                lr=learning_rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                grad=gradient,
            )


class Momentum:
    """Gradient descent with Nesterov momentum as in Keras's SGD, for float32 variables."""

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        self._variables = variables
        self._velocities = [_zeros_like(v) for v in variables]

    def apply(
        self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor, updates: tf.Tensor
    ) -> None:
        """Apply one update."""
        del updates  # the update does not depend on its number
        for variable, velocity, gradient in zip(
            self._variables, self._velocities, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=velocity.handle,
                lr=learning_rate,
                grad=gradient,
                momentum=_MOMENTUM,
                use_nesterov=True,
            )


def make(name: Optimizer, variables: Sequence[tf.Variable]) -> Adam | Momentum:
    """Create the optimizer of that name."""
    return Adam(variables) if name == "adam" else Momentum(variables)


def _zeros_like(variable: tf.Variable) -> tf.Variable:
    """A variable of zeros that is not trained."""
    return tf.Variable(tf.zeros_like(variable), trainable=False)
