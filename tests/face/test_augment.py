from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from kerasft.testing import check_task
from kerasft_face import losses
from kerasft_face.augment import Adaptive, Augment, Mirror, colour, geometry
from kerasft_face.augment.pipeline import KINDS

NAMES = [name for names in KINDS.values() for name in names]
DRAWN = 40_000
CLOSE = 5 / np.sqrt(DRAWN)
"""Five standard deviations of a mean of numbers up to 1."""


def _noise(count: int, side: int, *, smooth: float = 0.0, seed: int = 0) -> np.ndarray:
    pictures = np.random.default_rng(seed).standard_normal((count, side, side, 3))
    if smooth:
        pictures = ndimage.gaussian_filter(pictures, (0, smooth, smooth, 0), mode="mirror") * 2 * smooth
    return pictures.astype(np.float32)


def _batch(*numbers: float, dtype: str = "float32") -> tf.Tensor:
    return tf.constant(numbers, dtype)


def _warp(pictures: np.ndarray, forward: tf.Tensor) -> np.ndarray:
    return geometry.warp(tf.constant(pictures), tf.repeat(forward, len(pictures), 0)).numpy()


# ------------------------------------------------------------------------------------------- Moving pictures


@pytest.mark.parametrize("side", [8, 32])
def test_flips_quarter_turns_and_whole_shifts_are_exact(side):
    x = _noise(2, side)
    np.testing.assert_array_equal(_warp(x, geometry.scaling(_batch(-1.0), _batch(1.0))), x[:, :, ::-1])
    for number in range(4):
        # y grows downwards, so that turning from x towards y is clockwise.
        expected = np.rot90(x, -number, axes=(1, 2))
        np.testing.assert_array_equal(_warp(x, geometry.quarter_turns(_batch(number))), expected)
    endless = np.pad(x, [(0, 0), (99, 99), (99, 99), (0, 0)], "reflect")
    for right, down in [(0, 0), (3, -1), (-2, 4), (side + 5, -3 * side), (99, -99)]:
        expected = endless[:, 99 - down : 99 - down + side, 99 - right : 99 - right + side]
        np.testing.assert_array_equal(_warp(x, geometry.translation(_batch(right), _batch(down))), expected)


def test_exact_moves_stay_exact_together():
    x = _noise(2, 16)
    steps = [
        geometry.scaling(_batch(-1.0), _batch(1.0)),
        geometry.quarter_turns(_batch(1.0)),
        geometry.translation(_batch(2.0), _batch(-1.0)),
    ]
    together = geometry.compose(steps[2], geometry.compose(steps[1], steps[0]))
    turned = np.rot90(x[:, :, ::-1], -1, axes=(1, 2))
    expected = np.pad(turned, [(0, 0), (2, 2), (2, 2), (0, 0)], "reflect")[:, 3:19, 0:16]
    np.testing.assert_array_equal(_warp(x, together), expected)


def test_the_filter_is_that_of_an_orthogonal_wavelet_with_six_vanishing_moments():
    taps = np.array(geometry.LOW_PASS) * np.sqrt(2)
    assert len(taps) == 12
    for shift in range(6):
        product = taps[: len(taps) - 2 * shift] @ taps[2 * shift :]
        assert product == pytest.approx(float(shift == 0), abs=1e-11)
    high_pass = taps * (-1.0) ** np.arange(12)
    for power in range(6):
        assert high_pass @ (np.arange(12.0) / 12) ** power == pytest.approx(0.0, abs=1e-10)


def test_doubling_and_halving_the_resolution_changes_nothing():
    x = _noise(2, 16)
    # Too small a shift to see, but no whole one: it takes the way through the filters.
    found = _warp(x, geometry.translation(_batch(1e-6), _batch(0.0)))
    assert (found != x).any()
    np.testing.assert_allclose(found, x, atol=2e-5)


MOVES = {
    "zoomed in": geometry.scaling(_batch(1.3), _batch(1.3)),
    "zoomed out": geometry.scaling(_batch(0.7), _batch(0.7)),
    "stretched": geometry.scaling(_batch(1.2), _batch(1 / 1.2)),
    "turned": geometry.rotation(_batch(0.7)),
    "far turned": geometry.rotation(_batch(-2.5)),
    "moved": geometry.translation(_batch(2.3), _batch(-3.6)),
    "mirrored and moved": geometry.compose(
        geometry.translation(_batch(0.25), _batch(0.0)), geometry.scaling(_batch(-1.0), _batch(1.0))
    ),
    "all": geometry.compose(
        geometry.translation(_batch(1.5), _batch(4.25)),
        geometry.compose(geometry.rotation(_batch(2.0)), geometry.scaling(_batch(0.9), _batch(-1.1))),
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_other_moves_agree_with_scipy_on_smooth_pictures(name):
    side = 32
    x = _noise(2, side, smooth=3.0)
    found = _warp(x, MOVES[name])

    (a, b, right), (c, d, down), _ = MOVES[name].numpy()[0].astype(np.float64)
    # Scipy wants rows before columns, and where a place comes from.
    backward = np.linalg.inv(np.array([[d, c], [b, a]]))
    centre = np.full(2, (side - 1) / 2)
    offset = centre - backward @ (centre + np.array([down, right]))
    expected = np.stack(
        [
            [
                ndimage.affine_transform(plane, backward, offset, order=5, mode="mirror")
                for plane in picture.transpose(2, 0, 1)
            ]
            for picture in x.astype(np.float64)
        ]
    ).transpose(0, 2, 3, 1)
    assert np.abs(expected).max() > 0.9
    np.testing.assert_allclose(found, expected, atol=0.015)


# ------------------------------------------------------------------------------------------------- Colours


def _recolour(x: np.ndarray, matrix: tf.Tensor) -> np.ndarray:
    return colour.recolour(tf.constant(x), tf.repeat(matrix, len(x), 0)).numpy()


def test_colours_follow_their_formulas():
    x = _noise(2, 4)
    grey = x.mean(-1, keepdims=True)
    near = {"atol": 1e-5}
    np.testing.assert_allclose(_recolour(x, colour.brightness(_batch(0.3))), x + np.float32(0.3), **near)
    np.testing.assert_allclose(_recolour(x, colour.contrast(_batch(1.7))), 1.7 * x, **near)
    np.testing.assert_allclose(_recolour(x, colour.luma_flip(_batch(1.0))), x - 2 * grey, **near)
    np.testing.assert_allclose(_recolour(x, colour.saturation(_batch(0.4))), grey + 0.4 * (x - grey), **near)
    # Rodrigues' formula of a turn about an axis.
    axis, angle = np.ones(3) / np.sqrt(3), 0.9
    turned = x * np.cos(angle) + np.cross(np.broadcast_to(axis, x.shape), x) * np.sin(angle)
    turned += axis * (x @ axis)[..., None] * (1 - np.cos(angle))
    np.testing.assert_allclose(_recolour(x, colour.hue(_batch(angle))), turned, **near)


def test_colours_that_are_not_changed_are_exact():
    x = _noise(1, 4)
    zero, one = _batch(0.0), _batch(1.0)
    for matrix in (
        colour.brightness(zero),
        colour.contrast(one),
        colour.luma_flip(zero),
        colour.hue(zero),
        colour.saturation(one),
    ):
        np.testing.assert_array_equal(matrix[0], np.eye(4))
        np.testing.assert_array_equal(_recolour(x, matrix), x)


# ------------------------------------------------------------------------------------------------ Pipeline


def test_probability_zero_changes_no_bit():
    x = _noise(4, 16)
    np.testing.assert_array_equal(Augment("bgc", seed=0)(x, p=0.0), x)


@pytest.mark.parametrize("name", NAMES)
def test_each_augmentation_changes_as_many_pictures_as_the_probability_says(name):
    x = _noise(400, 8)
    changed = (Augment((name,), seed=0)(x, p=0.5).numpy() != x).any((1, 2, 3)).mean()
    kept = {"flip": 1 / 2, "quarter_turns": 1 / 4, "shift": 1 / 4, "luma_flip": 1 / 2}.get(name, 0.0)
    assert changed == pytest.approx(0.5 * (1 - kept), abs=5 * 0.5 / np.sqrt(400))


def test_all_of_them_together_are_one_move_and_one_colouring():
    x = _noise(6, 16)
    moved, recoloured = Augment("bgc", seed=3).draw(6, 1.0, side=16)
    expected = colour.recolour(geometry.warp(tf.constant(x), moved), recoloured)
    found = Augment("bgc", seed=3)(x, p=1.0)
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(found).all()
    assert len({picture.tobytes() for picture in found.numpy()}) == 6


def test_moves_are_made_in_the_order_of_the_paper():
    """Shifts before zooms, turns on both sides of stretching, slides last."""
    moved, _ = Augment(("shift", "zoom"), seed=0).draw(64, 1.0, side=32)
    pixels = moved[:, :2, 2] / moved[:, 0, 0, None]
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-4)
    moved, _ = Augment(("zoom", "slide"), seed=0).draw(DRAWN, 1.0, side=32)
    spread = moved.numpy()[:, :2, 2].std(0)
    np.testing.assert_allclose(spread, 0.125 * 32, rtol=0.03)
    moved, _ = Augment(("rotate", "stretch"), seed=0).draw(64, 1.0, side=32)
    turn_in, stretch, turn_out = np.linalg.svd(moved.numpy()[:, :2, :2])
    np.testing.assert_allclose(stretch.prod(1), 1.0, rtol=1e-4)
    assert np.abs(turn_in[:, 0, 0]).std() > 0.2
    assert np.abs(turn_out[:, 0, 0]).std() > 0.2
    _, recoloured = Augment(("brightness", "contrast"), seed=0).draw(64, 1.0, side=32)
    assert np.corrcoef(np.abs(recoloured[:, 0, 3]), recoloured[:, 0, 0])[0, 1] > 0.1


@pytest.mark.parametrize("kinds", ["", "x", (), ("flip", "spin")])
def test_unknown_kinds_are_refused(kinds):
    with pytest.raises(ValueError, match=r"Augment: kinds must be of the letters b, g, c or of the names"):
        Augment(kinds)


def test_kinds_are_told_apart():
    assert Augment("b", seed=0).draw(2, 1.0, side=8)[1] is None
    assert Augment("c", seed=0).draw(2, 1.0, side=8)[0] is None
    moved, _ = Augment("b", seed=0).draw(64, 1.0, side=8)
    np.testing.assert_array_equal(moved, np.round(moved))


# ---------------------------------------------------------------------------------------------- Invariance
#
# An augmentation draws a parameter (an angle, a shift, a logarithm of a factor) that adds up when it is
# applied twice, so that it convolves the distribution of pictures along that parameter with
# (1 - p) * delta + p * density. It can be undone if and only if the Fourier transform of this,
# 1 - p + p * transform(density), is nowhere zero. See appendix C of the paper.


def _angle(matrix: np.ndarray) -> np.ndarray:
    return np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])


def _hue(matrix: np.ndarray) -> np.ndarray:
    first = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    second = np.array([1.0, 1.0, -2.0]) / np.sqrt(6)
    turned = matrix[:, :3, :3] @ first
    # From first to second is against the turn about (1, 1, 1).
    return -np.arctan2(turned @ second, turned @ first)


def _saturation(matrix: np.ndarray) -> np.ndarray:
    return np.log2(matrix[:, 0, 0] - matrix[:, 0, 1])


def _log_scale(matrix: np.ndarray) -> np.ndarray:
    return np.log2(matrix[:, 0, 0])


SIDE = 32
WHOLE, ANY = np.arange(1, 9), np.linspace(0.1, 30, 300)


def _gauss(deviation: float):
    return lambda k: np.exp(-((deviation * k) ** 2) / 2)


def _never(k: np.ndarray) -> np.ndarray:
    """Of the uniform distribution on a circle."""
    return np.zeros(len(k))


def _rounded(k: np.ndarray) -> np.ndarray:
    """Of round(uniform(-4, 4)): eight pixels, of which the outermost two count half."""
    places = np.arange(-4, 5)
    return np.cos(k[:, None] * places) @ np.where(abs(places) == 4, 0.5, 1.0) / 8


# Name: the parameter of the drawn matrices, frequencies, and the transform of the density.
PARAMETERS = {
    "flip": (lambda m: np.pi * (m[:, 0, 0] < 0), np.array([1]), _never),
    "quarter_turns": (_angle, np.arange(1, 4), _never),
    "shift": (lambda m: m[:, 0, 2], np.linspace(0.01, np.pi, 500), _rounded),
    "zoom": (_log_scale, ANY, _gauss(0.2)),
    "rotate": (_angle, WHOLE, _never),
    "stretch": (_log_scale, ANY, _gauss(0.2)),
    "slide": (lambda m: m[:, 0, 2] / SIDE, ANY, _gauss(0.125)),
    "brightness": (lambda m: m[:, 0, 3], ANY, _gauss(0.2)),
    "contrast": (_log_scale, ANY, _gauss(0.5)),
    "luma_flip": (lambda m: np.pi * (m[:, :3, :3].sum((1, 2)) < 0), np.array([1]), _never),
    "hue": (_hue, WHOLE, _never),
    "saturation": (_saturation, ANY, _gauss(1.0)),
}

BOUNDS = {"flip": 1.0, "quarter_turns": 1.0, "rotate": 1.0, "luma_flip": 1.0, "hue": 1.0}
BOUNDS["shift"] = 1 / (1 - _rounded(PARAMETERS["shift"][1]).min())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("p", [0.25, 0.75])
def test_each_augmentation_can_be_undone_below_its_bound_and_not_at_it(name, p):
    parameter, frequencies, transform = PARAMETERS[name]
    matrices = Augment((name,), seed=0).draw(DRAWN, p, side=SIDE)
    drawn = parameter(next(m for m in matrices if m is not None).numpy().astype(np.float64))

    found = np.exp(1j * frequencies[:, None] * drawn).mean(1)
    expected = 1 - p + p * transform(frequencies)
    np.testing.assert_allclose(found, expected, atol=CLOSE)
    assert np.abs(expected).min() > 0
    bound = BOUNDS.get(name)
    if bound is None:
        assert transform(frequencies).min() > 0  # at no p is it lost
    else:
        assert p < bound
        assert np.abs(1 - bound + bound * transform(frequencies)).min() < 1e-9


def test_the_bound_of_shifts_is_that_of_the_documentation():
    assert 0.81 < BOUNDS["shift"] < 0.84
    assert "0.82" in Augment.__doc__


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("flip", lambda x: [x, x[:, ::-1]]),
        ("quarter_turns", lambda x: [np.rot90(x, n) for n in range(4)]),
    ],
)
def test_a_distribution_is_told_from_what_augmentation_made_of_it(name, group):
    """How often each position becomes which is a matrix; below the bound it has an inverse."""
    positions = np.stack(group(_noise(1, 8)[0]))
    order, count, p = len(positions), 8_000, 0.6
    augment = Augment((name,), seed=1)

    def frequencies(pictures: np.ndarray, p: float) -> np.ndarray:
        same = augment(pictures, p=p).numpy()[:, None] == positions[None]
        same = same.all((2, 3, 4))
        assert (same.sum(1) == 1).all()
        return same.mean(0)

    mixing = np.stack([frequencies(np.repeat(one[None], count, 0), p) for one in positions], axis=1)
    np.testing.assert_allclose(mixing, (1 - p) * np.eye(order) + p / order, atol=0.03)
    assert np.linalg.cond(mixing) < 4

    wanted = np.array([0.7, 0.3] if order == 2 else [0.5, 0.1, 0.4, 0.0])
    pictures = positions[np.random.default_rng(0).choice(order, count, p=wanted)]
    np.testing.assert_allclose(np.linalg.solve(mixing, frequencies(pictures, p)), wanted, atol=0.06)
    lost = [frequencies(np.repeat(one[None], count, 0), 1.0) for one in positions]
    np.testing.assert_allclose(lost, 1 / order, atol=0.03)  # every row the same: no inverse


# ------------------------------------------------------------------------------------------------ Gradients


def _judge(pictures: tf.Tensor) -> tf.Tensor:
    weights = tf.constant(_noise(1, pictures.shape[1], seed=9), pictures.dtype)
    return tf.reduce_sum(tf.sin(pictures * weights), axis=[1, 2, 3])


def test_r1_goes_through_it_with_the_right_second_derivative():
    side = 8
    x = tf.constant(_noise(3, side), tf.float64)
    moved, recoloured = Augment("bgc", seed=2, dtype="float64").draw(3, 0.7, side=side, dtype="float64")

    def penalty(pictures: tf.Tensor) -> tf.Tensor:
        def score(seen: tf.Tensor) -> tf.Tensor:
            return _judge(colour.recolour(geometry.warp(seen, moved), recoloured))

        return losses.r1_penalty(score, pictures)

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = penalty(x)
    slope = tape.gradient(value, x)
    direction = tf.constant(_noise(3, side, seed=1), tf.float64)
    step = 1e-5
    expected = (penalty(x + step * direction) - penalty(x - step * direction)) / (2 * step)
    assert abs(float(expected)) > 1e-2
    np.testing.assert_allclose(tf.reduce_sum(slope * direction), expected, rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_it_works_in_a_graph_at_any_size_of_a_batch(jit):
    augment = Augment("bgc", seed=0)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3])], jit_compile=jit)
    def slope_of_penalty(pictures: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            value = losses.r1_penalty(lambda seen: _judge(augment(seen, p=0.8)), pictures)
        return tape.gradient(value, pictures)

    for count in (1, 3):
        slope = slope_of_penalty(tf.constant(_noise(count, 8)))
        assert slope.shape == (count, 8, 8, 3)
        assert np.isfinite(slope).all()
        assert (slope.numpy() != 0).any((1, 2, 3)).all()


@pytest.mark.parametrize("side", [64, 128])
def test_large_pictures_keep_their_size(side):
    found = Augment("bgc", seed=0)(_noise(1, side), p=1.0)
    assert found.shape == (1, side, side, 3)
    assert np.isfinite(found).all()


# ----------------------------------------------------------------------------------------------- Controller


def _expected_probability(batches, *, target, kimg, interval, start) -> list[float]:
    """The rule of the paper: after every few batches by their pictures, where the mean sign says."""
    p, found = start, []
    for number, _ in enumerate(batches, 1):
        if number % interval == 0:
            scores = np.concatenate(batches[number - interval : number])
            p += np.sign(np.sign(scores).mean() - target) * len(scores) / (kimg * 1000)
            p = max(p, 0.0)
        found.append(p)
    return found


@pytest.mark.parametrize(("target", "kimg", "interval"), [(0.6, 0.5, 4), (0.0, 0.2, 1), (-0.2, 2.0, 3)])
def test_the_controller_follows_its_formula(target, kimg, interval):
    random = np.random.default_rng(4)
    # Three in five say real, half of the time more and half of the time fewer.
    batches = [
        random.standard_normal(random.integers(3, 17)).astype(np.float32) + shift
        for shift in np.repeat(random.uniform(-1.0, 2.0, 20), 6)
    ]
    adaptive = Adaptive(start=0.02, target=target, kimg=kimg, interval=interval)
    adaptive.build((None,))
    move = tf.function(adaptive, input_signature=[tf.TensorSpec([None])])
    found = [float(move(scores)) for scores in batches]

    expected = _expected_probability(batches, target=target, kimg=kimg, interval=interval, start=0.02)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    steps = np.sign(np.diff(expected[interval - 1 :: interval]))
    assert {-1.0, 1.0} <= set(steps)  # both ways
    assert float(adaptive.probability) == pytest.approx(expected[-1], abs=1e-5)


def test_the_controller_starts_at_zero_and_moves_by_the_reference_step():
    adaptive = Adaptive()
    sure, unsure = tf.ones([16]), -tf.ones([16])
    moves = [float(adaptive(scores)) for scores in [sure] * 8 + [unsure] * 16]
    step = 16 * 4 / 500_000
    expected = [0] * 3 + [step] * 4 + [2 * step] * 4 + [step] * 4 + [0] * 9
    np.testing.assert_allclose(moves, expected, atol=1e-9)
    balanced = tf.constant([1.0] * 4 + [-1.0])  # their mean sign is the target
    assert [float(Adaptive(start=0.5, interval=1)(balanced)) for _ in range(2)] == [0.5, 0.5]


def test_a_fixed_probability_stays():
    adaptive = Adaptive(start=0.3, kimg=None)
    assert [float(adaptive(tf.ones([8]))) for _ in range(8)] == [pytest.approx(0.3)] * 8
    assert not adaptive.trainable_variables


# -------------------------------------------------------------------------------------------------- Layers


def test_half_of_the_pictures_are_mirrored():
    x = _noise(400, 4)
    found = Mirror(seed=0)(x).numpy()
    kept, mirrored = ((found == y).all((1, 2, 3)) for y in (x, x[:, :, ::-1]))
    assert (kept ^ mirrored).all()
    assert mirrored.mean() == pytest.approx(0.5, abs=0.125)


@pytest.mark.parametrize(
    ("layer", "call"),
    [
        (Augment("bc", seed=5), lambda layer: layer(_noise(3, 8), p=0.9)),
        (Augment(("flip", "hue"), seed=5), lambda layer: layer(_noise(3, 8), p=0.9)),
        (Adaptive(start=0.1, target=0.2, kimg=1.0, interval=1), lambda layer: layer(tf.ones([3]))),
        (Mirror(seed=5), lambda layer: layer(_noise(3, 8))),
    ],
)
def test_layers_come_back_from_their_config(layer, call):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(call(again), call(layer))


def test_random_states_go_on_from_where_they_were():
    x = _noise(3, 8)
    one, other = Augment(seed=1), Augment(seed=2)
    for layer in (one, other):
        layer(x, p=0.5)
    for source, copy in zip(one.variables, other.variables, strict=True):
        copy.assign(source)
    for first, second in itertools.pairwise([(one(x, p=0.5), other(x, p=0.5)) for _ in range(2)]):
        np.testing.assert_array_equal(*first)
        np.testing.assert_array_equal(*second)
        assert (first[0].numpy() != second[0].numpy()).any()


# ------------------------------------------------------------------------------------------------ In the task

ADA = {"r1_every": 2, "path_every": 2, "augment": "ada", "augment_kimg": 0.1, "augment_target": 0.0}


def variables_of(task):
    return [variable.numpy() for model in task.models.values() for variable in model.variables]


def test_ada_counts_where_xla_on_a_gpu_can_reach(tiny):
    check_task("face", **{**tiny, "game": ADA}, only=["devices"]).raise_if_failed()


def test_a_training_with_ada_and_mirror_resumes_bit_for_bit_and_shows_its_probability(tiny, discs, tmp_path):
    import kerasft

    class Stop(Exception):
        pass

    def stop(batch, logs):
        if batch == 3:
            raise Stop

    def train(run, **options):
        task = kerasft.create("face", **{**tiny, "game": ADA, "mirror": True})
        history = task.finetune(
            discs(24, 8), run_dir=tmp_path / run, checkpoint_every=3, verbose="quiet", **options
        ).history
        return task, history

    whole, history = train("whole")
    assert {"augment_probability", "real_sign"} < set(history)
    assert whole.models["discriminator"].adaptive.probability.numpy() > 0
    with pytest.raises(Stop):
        train("run", callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=stop)])
    resumed, _ = train("run", resume="must")
    for found, expected in zip(variables_of(resumed), variables_of(whole), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_task_keeps_a_fixed_probability(tiny, discs):
    import kerasft

    task = kerasft.create("face", **{**tiny, "game": {**tiny["game"], "augment": 0.25}})
    history = task.finetune(discs(8, 8), verbose="quiet").history
    assert history["augment_probability"] == [0.25, 0.25]


def test_presets_of_the_paper_augment_and_a_wrong_word_is_one_sentence():
    import kerasft
    from kerasft.errors import ConfigError

    augment = {
        name: kerasft.create("face", preset=name).config.game.augment for name in ("micro", "paper256")
    }
    assert augment == {"micro": "none", "paper256": "ada"}
    with pytest.raises(ConfigError, match=r"game\.augment"):
        kerasft.create("face", game={"augment": "always"})


def test_with_ada_it_keeps_the_promises(tiny):
    from kerasft.testing import check_task

    only = ["build", "groups", "loss", "gradients", "metrics", "freezing"]
    check_task("face", **{**tiny, "game": ADA}, only=only).raise_if_failed()


def losses_of(task, pictures):
    """The loss of each update on a batch, all from one state of the weights and of the random numbers."""
    from kerasft.training.update import Batch

    batch = Batch({"picture": tf.constant(pictures)}, {})
    variables = [variable for model in task.models.values() for variable in model.variables]
    before = [variable.numpy() for variable in variables]
    found = {}
    for update in task.updates(lambda **settings: keras.optimizers.Adam(0.1, **settings)):
        loss = update.loss(batch)
        found[update.name] = float(loss[0] if isinstance(loss, tuple) else loss)
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
    return found


def test_all_that_is_judged_is_augmented(tiny, discs):
    import kerasft

    task = kerasft.create("face", **{**tiny, "game": {**tiny["game"], "augment": 0.0}})
    task.build()
    plain = losses_of(task, discs(4, 8))
    assert losses_of(task, discs(4, 8)) == plain
    task.models["discriminator"].adaptive.probability.assign(1.0)
    augmented = losses_of(task, discs(4, 8))
    changed = {name for name in plain if augmented[name] != plain[name]}
    assert changed == {"discriminator", "r1", "generator"}


def test_mirrored_pictures_are_real_as_well_as_the_others(tiny, discs):
    import kerasft
    from kerasft.training.update import Batch

    picture = discs(1, 8)

    def penalties(task, pictures):
        (r1,) = (u for u in task.updates(lambda **_: keras.optimizers.SGD(0.1)) if u.name == "r1")
        return {round(float(r1.loss(Batch({"picture": tf.constant(pictures)}, {}))), 9) for _ in range(24)}

    found = {}
    for mirror in (False, True):
        task = kerasft.create("face", **{**tiny, "mirror": mirror})
        task.build()
        found[mirror] = penalties(task, picture)
    assert len(found[False]) == 1
    assert len(found[True]) == 2
