"""A StyleGAN2 training step: the loop against the same step written by hand and against a torch package.

    taskset -c 0 python benchmarks/face_step.py [--torch-python PYTHON] [--out FILE.md]

PYTHON is an interpreter that has torch, torch-conv-gradfix and stylegan2-torch (1.3.0, after rosinality);
without it that row is left out. Two of its operations are written for CUDA only; on a CPU it has one of them
in plain torch, and the other, resampling, is given to it here, as is a third colour channel. All train the
same networks (32 channels at most, 64 latents, batch 16, two optimizers, R1 every 16 and path length every 4
steps on half a batch, style mixing 0.9, average of the generator) on the same random pictures; a turn is a
full cycle of 16 steps.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import Turns, Worker, race, rows

BATCH = 16
CYCLE = 16
PICTURES = 512
RATE, BETA, GAMMA = 5e-3, 0.99, 4.0
WIDTH, LATENT, DEPTH, BASE, MOST = 64, 64, 2, 512, 32
MIXING, PATH_EVERY, PATH_WEIGHT, PATH_DECAY = 0.9, 4, 2.0, 0.01
HALF_LIFE = 800.0
GAME = {"gamma": GAMMA, "path_weight": PATH_WEIGHT, "style_mixing": MIXING}


def pictures(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (PICTURES, side, side, 3), np.uint8)


def face_task(side: int) -> Any:
    import kerasft

    # The preset micro is the rest of this configuration.
    return kerasft.create("face", resolution=side, game=GAME)


def run_loop(side: int, turns: Turns) -> None:
    import keras

    class Step(keras.callbacks.Callback):
        # The other hook would have the loop read its metrics for the logs.
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            turns.step(BATCH)

    face_task(side).finetune({"picture": pictures(side)}, epochs=1000, callbacks=[Step()], verbose="quiet")


def step_by_hand(
    task: Any, side: int, *, batch: int = BATCH, jit_compile: bool = False
) -> Callable[[Any, bool, bool], Any]:
    """The four turns of a step with two Keras optimizers and an average, and nothing else.

    Returns:
        A function of uint8 pictures `[batch, side, side, 3]`, whether R1 is due, and whether path length is;
        it gives the generator's loss.
    """
    import keras
    import tensorflow as tf

    from kerasft_face import losses

    generator, discriminator = task.models["generator"], task.models["discriminator"]

    def adam(every: int) -> keras.optimizers.Optimizer:
        share = every / (every + 1)
        return keras.optimizers.Adam(RATE * share, beta_1=0.0, beta_2=BETA**share, epsilon=1e-8)

    judge, make = adam(CYCLE), adam(PATH_EVERY)
    judged, made = discriminator.trainable_variables, generator.trainable_variables
    judge.build(judged)
    make.build(made)
    averages = [tf.Variable(weight.value, trainable=False) for weight in generator.weights]
    momentum = 0.5 ** (batch / HALF_LIFE)

    def styles(count: Any) -> Any:
        return generator.draw_styles(count, None, mixing=MIXING)

    def fake() -> Any:
        return generator.synthesis(styles(batch), training=True)

    def turn(loss: Any, variables: list[Any], optimizer: Any) -> Any:
        values = [variable.value for variable in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            result = loss()
        gradients = tape.gradient(result, values)
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        optimizer.apply(*map(list, zip(*pairs, strict=True)))
        return result

    def path_length() -> Any:
        ws = styles(batch // 2)
        noise = keras.random.normal((batch // 2, side, side, 3), seed=generator.latent_seed)
        lengths = losses.path_lengths(lambda w: generator.synthesis(w, training=True), ws, noise)
        return generator.path_length(lengths) * PATH_WEIGHT * PATH_EVERY

    def step(pictures: Any, r1: bool, path: bool) -> Any:
        real = tf.cast(pictures, tf.float32) / 127.5 - 1.0
        turn(lambda: losses.discriminator_loss(discriminator(real), discriminator(fake())), judged, judge)
        if r1:
            turn(lambda: losses.r1_penalty(discriminator, real) * GAMMA * CYCLE, judged, judge)
        loss = turn(lambda: losses.generator_loss(discriminator(fake())), made, make)
        if path:
            turn(path_length, made, make)
        for average, weight in zip(averages, generator.weights, strict=True):
            if weight.dtype.startswith("float"):
                average.assign_sub((1.0 - momentum) * (average - weight.value))
        return loss

    return tf.function(step, jit_compile=jit_compile, autograph=False)


def run_by_hand(side: int, turns: Turns) -> None:
    import tensorflow as tf

    task = face_task(side)
    task.build()
    compiled = step_by_hand(task, side)
    data, order = pictures(side), np.random.default_rng(0)
    for number in range(1_000_000):
        batch = tf.constant(data[order.integers(0, PICTURES, BATCH)])
        compiled(batch, number % CYCLE == 0, number % PATH_EVERY == 0)
        turns.step(BATCH)


def resampled(x: Any, kernel: Any, up: int = 1, down: int = 1, pad: Any = (0, 0)) -> Any:
    """Zeros between the pixels, padding, the filter, every n-th pixel: the package has this for CUDA only."""
    import torch

    count, channels, height, width = x.shape
    if up > 1:
        zeros = x.new_zeros(count, channels, height, up, width, up)
        zeros[:, :, :, 0, :, 0] = x
        x = zeros.reshape(count, channels, height * up, width * up)
    x = torch.nn.functional.pad(x, (*pad[:2], *pad[:2]))
    filters = torch.flip(kernel, [0, 1])[None, None].expand(channels, 1, -1, -1)
    return torch.nn.functional.conv2d(x, filters, groups=channels)[:, :, ::down, ::down]


def run_torch(side: int, turns: Turns) -> None:
    import torch
    import torch.utils.cpp_extension

    torch.utils.cpp_extension.load = lambda *arguments, **settings: None  # these are for CUDA
    import stylegan2_torch as peer
    from stylegan2_torch import equalized_lr
    from stylegan2_torch.discriminator.blocks import ConvBlock
    from stylegan2_torch.generator import rgb

    equalized_lr.upfirdn2d = rgb.upfirdn2d = resampled

    torch.manual_seed(0)
    random.seed(0)
    sides = [4 << n for n in range(side.bit_length() - 2)]
    channels = {at: min(BASE // at, MOST) for at in sides}
    generator = peer.Generator(side, latent_dim=LATENT, n_mlp=DEPTH, channels=channels)
    discriminator = peer.Discriminator(side, channels=channels)
    # The package makes grey pictures; its own layers make coloured ones as well.
    discriminator.blocks[0] = ConvBlock(3, channels[side], 1)
    for layer in generator.to_rgbs:
        layer.weight = torch.nn.Parameter(torch.randn(1, 3, *layer.weight.shape[2:]))
        layer.bias = torch.nn.Parameter(torch.zeros(1, 3, 1, 1))
    averages = [parameter.detach().clone() for parameter in generator.parameters()]
    momentum = 0.5 ** (BATCH / HALF_LIFE)

    def adam(network: Any, every: int) -> Any:
        share = every / (every + 1)
        return torch.optim.Adam(network.parameters(), lr=RATE * share, betas=(0.0, BETA**share), eps=1e-8)

    judge, make = adam(discriminator, CYCLE), adam(generator, PATH_EVERY)
    mean_length: Any = torch.zeros(())

    def latents(count: int) -> list[Any]:
        return [torch.randn(count, LATENT) for _ in range(2 if random.random() < MIXING else 1)]

    def train(network: Any, on: bool) -> None:
        for parameter in network.parameters():
            parameter.requires_grad_(on)

    def turn(optimizer: Any, loss: Any) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    data = torch.from_numpy(pictures(side)).permute(0, 3, 1, 2).contiguous()
    for number in range(1_000_000):
        real = data[torch.randint(PICTURES, (BATCH,))].float() / 127.5 - 1.0
        train(generator, False)
        train(discriminator, True)
        fake = generator(latents(BATCH))
        turn(judge, peer.d_loss(discriminator(real), discriminator(fake)))
        if number % CYCLE == 0:
            real.requires_grad_(True)
            turn(judge, peer.d_reg_loss(discriminator(real), real) * (GAMMA / 2 * CYCLE))
        train(generator, True)
        train(discriminator, False)
        turn(make, peer.g_loss(discriminator(generator(latents(BATCH)))))
        if number % PATH_EVERY == 0:
            made, ws = generator(latents(BATCH // 2), return_latents=True)
            penalty, mean_length, _ = peer.g_reg_loss(made, ws, mean_length, PATH_DECAY)
            turn(make, penalty * PATH_WEIGHT * PATH_EVERY)
        with torch.no_grad():
            for average, parameter in zip(averages, generator.parameters(), strict=True):
                average.lerp_(parameter, 1.0 - momentum)
        turns.step(BATCH)


CONTENDERS = {"kerasft": run_loop, "the same step by hand": run_by_hand, "stylegan2-torch": run_torch}


def compare(torch_python: str | None, rounds: int) -> list[str]:
    lines = []
    for side in (32, 64):
        pythons = {"kerasft": sys.executable, "the same step by hand": sys.executable}
        if torch_python:
            pythons["stylegan2-torch"] = torch_python
        workers = [
            Worker(name, [python, __file__, "--contender", name, "--side", str(side)], {})
            for name, python in pythons.items()
        ]
        speeds = race(workers, rounds, lambda line: print(line, file=sys.stderr))
        lines += [f"## {side}x{side}", ""]
        lines += [
            "| contender | pictures per CPU-s (median; min to max) | kerasft against it |",
            "|---|---|---|",
        ]
        lines += [*rows(speeds, "kerasft"), ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch-python")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        turns = Turns(CYCLE)
        turns.wait()
        CONTENDERS[options.contender](options.side, turns)
        return
    lines = compare(options.torch_python, options.rounds)
    print("\n".join(lines))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
