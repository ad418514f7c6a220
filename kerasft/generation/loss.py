"""The loss of predicted tokens."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kerasft.generation.subwords import PAD


def token_losses(logits: Any, tokens: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the negative log-likelihood of each token and what counts.

    Args:
        logits: float [batch, length, vocabulary].
        tokens: int32 [batch, length]; padding is 0 and counts for nothing.

    Returns:
        float32 [batch, length], 0 at padding; float32 [batch, length], 1 where a token is.

    Example:
        >>> loss, counts = token_losses(tf.zeros([1, 2, 4]), tf.constant([[3, 0]]))
        >>> loss.numpy().round().tolist(), counts.numpy().tolist()
        ([[1.0, 0.0]], [[1.0, 0.0]])
    """
    counts = tf.cast(tokens != PAD, tf.float32)
    losses, _ = _cross_entropy(*_flat(logits, tokens))
    return tf.reshape(losses, tf.shape(tokens)) * counts, counts


def smoothed_losses(logits: Any, tokens: Any, *, smoothing: float) -> tf.Tensor:
    """Returns the loss of each token when a share of its target lies on all the vocabulary.

    Source: Szegedy et al., 2016, "Rethinking the Inception Architecture for Computer Vision".

    Args:
        logits: float [batch, length, vocabulary].
        tokens: int32 [batch, length]; padding is 0 and counts for nothing.
        smoothing: The share, below 1; 0 is the plain loss.

    Returns:
        float32 [batch, length].
    """
    losses, counts = token_losses(logits, tokens)
    if not smoothing:
        return losses
    smoothed = _smoothed(*_flat(logits, tokens), tf.constant(smoothing))
    return tf.reshape(smoothed, tf.shape(tokens)) * counts


def _flat(logits: Any, tokens: Any) -> tuple[tf.Tensor, tf.Tensor]:
    flat = tf.reshape(tf.cast(logits, tf.float32), [-1, logits.shape[-1] or tf.shape(logits)[-1]])
    return flat, tf.reshape(tokens, [-1])


def _cross_entropy(logits: Any, tokens: Any) -> tuple[tf.Tensor, tf.Tensor]:
    # One operation on one shape wherever it is needed, so that a graph computes it once for loss and metrics.
    return tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=tokens)


@tf.custom_gradient
def _smoothed(logits: Any, tokens: Any, smoothing: Any) -> Any:
    # By hand, because a pass over all logits takes long and the gradient of each term would be one more.
    losses, slopes = _cross_entropy(logits, tokens)
    # The mean of all log-likelihoods is that of the token plus how far its logit is from the mean one.
    excess = tf.gather(logits, tokens, batch_dims=1) - tf.reduce_mean(logits, axis=-1)

    def gradient(upstream: Any) -> tuple[Any, None, None]:
        share = smoothing / tf.cast(tf.shape(logits)[-1], tf.float32)
        places = tf.stack([tf.range(tf.shape(tokens)[0]), tokens], axis=1)
        whole = (slopes - share) * upstream[:, None]
        return tf.tensor_scatter_nd_add(whole, places, smoothing * upstream), None, None

    return losses + smoothing * excess, gradient


def sequence_losses(losses: Any, counts: Any) -> tf.Tensor:
    """Returns one loss a row whose mean over the rows is the mean over all tokens of the batch.

    So a long sequence weighs more than a short one, and each token the same.

    Args:
        losses: float32 [batch, length], 0 at padding.
        counts: float32 [batch, length], 1 where a token is.

    Returns:
        float32 [batch].
    """
    rows = tf.cast(tf.shape(losses)[0], tf.float32)
    return tf.reduce_sum(losses, axis=1) * rows / tf.maximum(tf.reduce_sum(counts), 1.0)
