"""Each mistake of an author is caught by the check meant for it, with a sentence that says what to do."""

from __future__ import annotations

import re

import defects
import pytest

import kerasft
from kerasft.testing import CHECKS, check_task

# Checks that only the defects meant for them run into, left out elsewhere because they take long.
_SLOW = {"phases", "seed", "resume", "export", "verify", "runtime"}
_OF_ONE_STEP = {"preprocess", "targets", "loss", "gradients", "metrics", "freezing"}

_CAUGHT = [
    (
        "WithoutFeatures",
        "class",
        r"postprocess\(self, outputs\) must take the arguments postprocess\(self, outputs.*, features",
    ),
    ("NoPreprocess", "class", r"does not override preprocess\(\)"),
    ("ConfigDrifts", "config", r"width was 5 and became 6.*validators must leave a valid value"),
    ("ConfigIgnoresTypos", "config", r"accepts the unknown key.*extra='forbid'"),
    (
        "ExampleOfOtherColumns",
        "example",
        r"column 'sentence', which fields\(\) does not name \(text, label\)",
    ),
    ("ExampleWithoutTargets", "example", r"lacks the column label"),
    ("ExampleOfUnequalColumns", "example", r"'text': 2, 'label': 1.*the same number"),
    ("NoDefaultSignature", "signatures", r"names predict: call the main one 'serving_default'"),
    ("UnknownRank", "signatures", r"input 'text'.*unknown rank.*tf.TensorSpec\(\[None\], tf.string\)"),
    ("SignatureOfOtherType", "signatures", r"int64.*declare tf.TensorSpec\(\[None\], tf.string\)"),
    ("ListOfOneAxis", "signatures", r"which clients send padded: declare tf.TensorSpec\(\[None, None\], "),
    (
        "LayerInNoGroup",
        "build",
        r"'hidden' has weights but is in no layer group; add it to one in layer_groups",
    ),
    ("LayerInTwoGroups", "build", r"'hidden' is in the layer groups 'hidden' and 'head'"),
    (
        "HeadFirst",
        "groups",
        r"'words', does not hold the layer that makes the outputs \(head\): order layer_groups",
    ),
    ("GroupWithoutWeights", "groups", r"'pooling' has no weights"),
    (
        "UnnamedLayer",
        "groups",
        r"dense(_\d+)?, hidden, head in one build and words, dense_\d+.*give the layers names",
    ),
    ("PyFunction", "preprocess", r"preprocess\(\) calls Python through EagerPyFunc: rewrite"),
    ("NumpyOnTensors", "preprocess", r"defects.py:\d+ in preprocess\); use TensorFlow ops only"),
    (
        "RandomPreprocess",
        "preprocess",
        r"another 'ids' on the same rows: it draws random numbers \(RandomUniform\)",
    ),
    ("PadsItself", "preprocess", r"int32 \(3,\) for row 0 alone, but int32 \(5,\).*return a RaggedTensor"),
    (
        "NormalizesOverTheBatch",
        "preprocess",
        r"row \d alone than within 4 rows.*without statistics of the batch",
    ),
    ("ReadsTheTarget", "preprocess", r"reads the target column 'label'.*read it in targets\(\).*defects.py"),
    ("LooksWhetherTargetsAreThere", "preprocess", r"another 'ids' when targets are there"),
    ("NoTargets", "targets", r"returned nothing for the column label: override it"),
    ("RequestByAnotherName", "request", r"gives sentence for rows of text: .*serving_default \(text\)"),
    ("RequestOfSomeRows", "request", r"gives 2 values of 'text' for 4 rows: return one a row"),
    ("RequestPadsItself", "request", r"another 'text' for row 0 alone than among 4 rows.*each row by itself"),
    (
        "LossPerClass",
        "loss",
        r"returned shape \(5, 2\) for 5 rows: return one loss for each row, shape \(5,\)",
    ),
    ("LossIsNan", "loss", r"loss\(\) is nan.*log\(0\)"),
    ("CutOff", "gradients", r"does not depend on the layer group 'words'.*tf.stop_gradient"),
    ("CountsInInt32", "devices", r"reads the int32 variable calls:0, .*make it int64"),
    ("SharedMetrics", "metrics", r"same object for 'accuracy' twice: make new metrics"),
    ("MetricKeepsCounting", "metrics", r"'accuracy' is .* after reset_state\(\): make reset_state\(\) zero"),
    ("MonitorsNothing", "metrics", r"monitor is 'val_f1', but validation gives val_loss, val_accuracy"),
    (
        "GroupNamedLikeAPolicy",
        "freezing",
        r"freeze\('all'\) the groups hidden, head train, not none: do not name",
    ),
    (
        "LearnsNothing",
        "finetune",
        r"loss on the example went from 0.69\d* to 0.69\d* in 8 steps.*learning_rate",
    ),
    ("UnnamedOutput", "outputs", r"'output_0' of serving_default has a made-up name: call it"),
    ("OutputIsNoDict", "outputs", r"return a dict of named tensors"),
    ("HalfOutput", "outputs", r"'scores' of serving_default is float16: cast it in postprocess"),
    ("RaggedOutput", "outputs", r"'scores' of serving_default is Ragged.*dense"),
    ("PythonInPostprocess", "outputs", r"calls Python through PyFunc: rewrite"),
    ("ServesAnotherPath", "serve", r"served '(label|scores)' differs.*without flags"),
    ("BranchesOnAFlag", "serve", r"served '(label|scores)' differs.*without flags"),
    (
        "AttendsToPadding",
        "batches",
        r"output 'scores' of row \d is .* alone and .* among 4 rows.*mask padded",
    ),
    ("ScoresOfTheBatch", "batches", r"output 'scores' of row 0 is \[1\. 1\.\] alone"),
    ("AnswersForSome", "batches", r"output 'best'.*row.splits"),
    ("ForgetsTheVocabulary", "load", r"defects|mood.*save_assets\(\) must write, and load_assets\(\) read"),
    ("LosesTheLabels", "load", r"has other fields.*class 0.*save_assets\(\) must write"),
    ("HeadInHalfPrecision", "precision", r"output 'scores' is float16: give the last layer dtype='float32'"),
    ("IdleGroup", "phases", r"only 'gate' unfrozen.*moved none of its weights"),
    ("RandomWeights", "seed", r"other weights head/kernel each time.*keras initializers"),
    ("RandomStep", "seed", r"two runs with one seed differ: loss of epoch 1.*keras.random.SeedGenerator"),
    ("HiddenRandomState", "resume", r"resumed ends with other weights.*tf.random"),
    ("UntrackedTable", "export", r"return it from resources\(\)"),
    ("NotANumber", "verify", r"not fit to serve: finite: NaN or infinity in the outputs 'scores'"),
    (
        "ExportsAnotherPath",
        "runtime",
        r"SavedModel gives another 'scores' than predict\(\) \(they are up to 1 apart\)",
    ),
]


@pytest.mark.parametrize(("defect", "name", "sentence"), _CAUGHT, ids=[defect for defect, _, _ in _CAUGHT])
def test_is_caught(defect, name, sentence):
    task_class = kerasft.register(f"mood-{defect.lower()}")(getattr(defects, defect))
    after_training = list(CHECKS).index(name) > list(CHECKS).index("finetune")
    left_out = _SLOW | (_OF_ONE_STEP if after_training else set())
    wanted = [other for other in CHECKS if other == name or other not in left_out]
    report = check_task(
        task_class, only=wanted[: wanted.index(name) + 1], training={"epochs": 2, "learning_rate": 0.01}
    )
    assert [check.name for check in report.failed] == [name], str(report)
    assert re.search(sentence, report[name].detail), report[name].detail


def test_unregistered():
    report = check_task(defects.Mood)
    assert [check.name for check in report.failed] == ["class"]
    assert "@kerasft.register" in report["class"].detail
    assert {check.ok for check in report.checks[1:]} == {None}
    assert report["export"].detail == "needs the check 'outputs' to pass"


def test_a_name_of_another_class():
    kerasft.register("mood")(defects.Mood)

    class Heir(defects.Mood):
        """Inherits the name too."""

    report = check_task(Heir, only=["class"])
    assert "belongs to mood.Mood: register Heir under a name of its own" in report["class"].detail


def test_every_check_catches_something():
    assert {name for _, name, _ in _CAUGHT} == set(CHECKS)
