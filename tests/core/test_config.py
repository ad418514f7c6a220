"""Configs: keywords, recipes and --set are one thing, and wrong ones are explained."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic
import pytest

from kerasft.config import Config, TaskConfig, config_fields, load_recipe, merge, parse
from kerasft.errors import ConfigError, KerasftError
from kerasft.recipe import recipe_with_lines


class Small(Config):
    kind: Literal["small"] = pydantic.Field("small", description="Which backbone.")
    dropout: float = pydantic.Field(0.1, ge=0, lt=1, description="Share of units left out.")


class Wide(Config):
    kind: Literal["wide"] = pydantic.Field("wide", description="Which backbone.")
    layers: int = pydantic.Field(4, ge=1, le=9, description="How many.")


class Toy(TaskConfig):
    labels: list[str] | None = pydantic.Field(None, description="Names of the classes.")
    backbone: Small | Wide = pydantic.Field(
        default_factory=Small, discriminator="kind", description="The body."
    )
    needed: int = pydantic.Field(description="Has no default.")


def message(values: dict[str, object], where: str = "here") -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Toy, values, where=where)
    return str(caught.value)


def test_valid_values_reach_the_config() -> None:
    config = parse(
        Toy, {"needed": 1, "backbone": {"kind": "wide", "layers": 2}, "training": {"epochs": 7}}, where="x"
    )
    assert isinstance(config.backbone, Wide)
    assert (config.backbone.layers, config.training.epochs, config.seed) == (2, 7, 0)


def test_an_unknown_key_names_itself_its_value_and_the_nearest_key() -> None:
    assert message({"needed": 1, "sed": 3}) == 'here: unknown key "sed" (value 3): did you mean "seed"?'


def test_a_nested_unknown_key_is_dotted() -> None:
    text = message({"needed": 1, "training": {"epoch": 3}}, where="r.yaml")
    assert text.startswith('r.yaml: unknown key "training.epoch" (value 3)')
    assert '"training.epochs"' in text


def test_a_key_at_the_wrong_level_is_led_to_the_right_one() -> None:
    assert 'did you mean "training.batch_size"?' in message({"needed": 1, "batch_size": 8})
    assert 'did you mean "backbone.dropout"?' in message({"needed": 1, "dropout": 0.5})


def test_a_key_misspelt_at_the_wrong_level_is_led_to_the_right_one() -> None:
    assert 'did you mean "training.epochs"?' in message({"needed": 1, "epoch": 3})
    assert 'did you mean "training.optimizer"?' in message({"needed": 1, "optimzer": "adam"})
    assert 'did you mean "labels" or "backbone.layers"?' in message({"needed": 1, "layers": 2})
    assert 'did you mean "labels"?' in message({"needed": 1, "label": 2})
    assert 'did you mean "training.epochs"?' in message(
        {"needed": 1, "backbone": {"kind": "small", "epoch": 3}}
    )


def test_all_places_of_a_misspelt_key_are_offered() -> None:
    class Two(Config):
        body: Small = pydantic.Field(default_factory=Small)
        head: Small = pydantic.Field(default_factory=Small)

    with pytest.raises(ConfigError, match=r'did you mean "body\.dropout" or "head\.dropout"\?$'):
        parse(Two, {"droput": 0.2}, where="here")


def test_a_key_that_only_shares_its_section_is_not_offered() -> None:
    assert "valid keys: training.accumulate, " in message({"needed": 1, "training": {"zzzzzz": 3}})


def test_the_members_of_a_union_complain_in_one_sentence() -> None:
    text = message({"needed": 1, "training": {"jit_compile": [1]}})
    assert text == (
        "here: \"training.jit_compile\" is [1]: it should be a valid boolean, or it should be 'auto'"
    )


def test_an_unrecognisable_key_lists_the_valid_ones() -> None:
    text = message({"needed": 1, "zzzzzz": 3})
    for key in ("backbone", "labels", "needed", "precision", "seed", "training"):
        assert key in text


def test_a_key_inside_a_union_is_looked_up_in_the_chosen_member() -> None:
    text = message({"needed": 1, "backbone": {"kind": "wide", "layer": 2}})
    assert 'unknown key "backbone.layer" (value 2): did you mean "backbone.layers"?' in text


def test_a_wrong_value_names_field_value_and_reason() -> None:
    text = message({"needed": 1, "backbone": {"kind": "small", "dropout": 1.5}})
    assert text == 'here: "backbone.dropout" is 1.5: it should be less than 1'


def test_a_wrong_choice_names_the_nearest_choice() -> None:
    text = message({"needed": 1, "precision": "mixed_floats16"})
    assert "\"precision\" is 'mixed_floats16'" in text
    assert 'did you mean "mixed_float16"?' in text


def test_a_missing_value_is_named() -> None:
    assert message({}) == 'here: key "needed" is missing and has no default'


def test_several_problems_are_told_at_once_but_not_without_end() -> None:
    text = message({"a1": 1, "b1": 1, "c1": 1, "d1": 1, "needed": 1})
    assert text.count("unknown key") == 3
    assert text.endswith("; and 1 more")


def test_a_long_value_is_cut() -> None:
    assert len(message({"needed": 1, "sed": "x" * 5000})) < 200


def test_assigning_a_wrong_value_later_fails_too() -> None:
    config = Toy(needed=1)
    with pytest.raises(pydantic.ValidationError):
        config.seed = -1


def test_config_errors_are_value_errors_too() -> None:
    assert issubclass(ConfigError, KerasftError)
    assert issubclass(ConfigError, ValueError)


def test_every_field_is_listed_with_type_default_limits_and_help() -> None:
    fields = {field.key: field for field in config_fields(Toy)}
    dropout = fields["backbone.dropout"]
    assert (dropout.type, dropout.default, dropout.limits) == ("float", 0.1, ">= 0, < 1")
    assert dropout.help == "Share of units left out."
    assert fields["backbone.layers"].limits == ">= 1, <= 9"
    assert fields["labels"].type == "list[str] | null"
    assert fields["needed"].required
    assert not fields["seed"].required
    assert fields["precision"].type == "auto | float32 | mixed_float16 | mixed_bfloat16"
    assert "training.epochs" in fields
    assert all(field.help for field in fields.values())


class TestMerge:
    def test_overrides_win_and_the_original_stays(self) -> None:
        values = {"seed": 1, "training": {"epochs": 3}}
        merged = merge(values, ["training.epochs=5", "training.batch_size=8", "a.b.c=1"])
        assert merged == {"seed": 1, "training": {"epochs": 5, "batch_size": 8}, "a": {"b": {"c": 1}}}
        assert values == {"seed": 1, "training": {"epochs": 3}}

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-4", 1e-4),
            ("1.5E3", 1500.0),
            (".5", 0.5),
            ("-3", -3),
            ("010", 10),
            ("true", True),
            ("no", "no"),
            ("on", "on"),
            ("null", None),
            ("", None),
            ("2020-01-01", "2020-01-01"),
            ("1:30", "1:30"),
            ("[yes, no, 3]", ["yes", "no", 3]),
            ("{a: 1}", {"a": 1}),
            ("a=b", "a=b"),
        ],
    )
    def test_values_are_yaml_scalars_without_its_surprises(self, text: str, value: object) -> None:
        found = merge({}, [f"key={text}"])["key"]
        assert found == value
        assert type(found) is type(value)

    def test_without_an_equals_sign_it_says_how(self) -> None:
        with pytest.raises(ConfigError, match="KEY=VALUE"):
            merge({}, ["seed"])

    def test_a_key_below_a_plain_value_is_refused(self) -> None:
        with pytest.raises(ConfigError, match='"seed" is 1, it has no key "x"'):
            merge({"seed": 1}, ["seed.x=2"])

    def test_a_very_long_or_deep_value_is_refused_in_few_words(self) -> None:
        for text, reason in (("1" * 5000, "cannot be read as int"), ("[" * 5000, "nested too deeply")):
            with pytest.raises(ConfigError, match=reason) as caught:
                merge({}, [f"seed={text}"])
            assert len(str(caught.value)) < 200

    def test_broken_yaml_is_quoted(self) -> None:
        with pytest.raises(ConfigError, match=r"--set labels: '\[a' is not a YAML value"):
            merge({}, ["labels=[a"])


class TestRecipe:
    def write(self, folder: Path, text: str) -> Path:
        path = folder / "r.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def test_it_is_read(self, tmp_path: Path) -> None:
        path = self.write(
            tmp_path, "task: text\ndata: a.tsv\nconfig:\n  labels: [no, yes]\n  training: {epochs: 2}\n"
        )
        assert load_recipe(path) == {
            "task": "text",
            "data": "a.tsv",
            "config": {"labels": ["no", "yes"], "training": {"epochs": 2}},
        }

    def test_an_empty_one_is_empty(self, tmp_path: Path) -> None:
        assert load_recipe(self.write(tmp_path, "# nothing yet\n")) == {}

    def test_lines_of_config_keys_are_kept_for_errors(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, "task: text\nconfig:\n  seed: 1\n  training:\n    epohcs: 2\n")
        values, lines = recipe_with_lines(path)
        with pytest.raises(ConfigError, match=r'line 5: unknown key "training.epohcs" \(value 2\)'):
            parse(TaskConfig, values["config"], where=str(path), lines=lines)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("task: text\nconfig: [\n", "line 3"),
            (
                "task: text\nvalidaton: 0.1\n",
                'line 2: unknown key "validaton" (value 0.1): did you mean "validation"?',
            ),
            ("task: text\ntask: image\n", 'line 2: key "task" is given twice, first in line 1'),
            ("- task\n", "line 1: a recipe is a mapping"),
            ("task: text\nconfig: 3\n", 'line 2: "config" is 3: it should be a valid dictionary'),
            ("task: 3\n", 'line 1: "task" is 3: it should be a valid string'),
            ("task: text\nrun: 5\n", 'line 2: "run" is 5: it should be a valid string'),
            ("columns: {text: 1}\n", "line 1: \"columns\" is {'text': 1}: it should name the column of each"),
            ("columns: [text]\n", "line 1: \"columns\" is ['text']: it should name the column of each"),
            ("data: a\nvalidation: true\n", 'line 2: "validation" is True: it should be a valid string, or'),
            ("epochs: 0\n", 'line 1: "epochs" is 0: it should be greater than or equal to 1'),
            ("resume: yes\n", "line 1: \"resume\" is 'yes': it should be 'auto', 'must' or 'never'"),
            ("a:\n  - b: 1\n    b: 2\n", 'line 3: key "b" is given twice, first in line 2'),
            (
                "task: text\nseed: " + "1" * 5000,
                "line 2: '111111111111...1111111111111' cannot be read as int",
            ),
            ("seed: !!bool maybe\n", "line 1: 'maybe' cannot be read as bool"),
            ("config: " + "[" * 5000, "it is nested too deeply"),
            ("config: &a {b: *a}\n", "it is nested too deeply"),
            (
                "seed: 1\nconfig: {seed: 2}\n",
                'line 1: "seed" is given twice, also as "config.seed" in line 2',
            ),
            ("epochs: 1\nconfig: {training: 2}\n", 'line 1: "training" is 2, it has no key "epochs"'),
            ("task: !!python/object:os.system x\n", "line 1"),
        ],
    )
    def test_errors_name_file_and_line(self, tmp_path: Path, text: str, expected: str) -> None:
        path = self.write(tmp_path, text)
        with pytest.raises(ConfigError) as caught:
            load_recipe(path)
        assert str(path) in str(caught.value)
        assert expected in str(caught.value)

    def test_null_leaves_a_key_out(self, tmp_path: Path) -> None:
        assert load_recipe(self.write(tmp_path, "task: text\nresume: null\nconfig:\n")) == {"task": "text"}

    def test_merge_keys_are_merged_and_keep_their_lines(self, tmp_path: Path) -> None:
        text = "config:\n  body: &small\n    rate: 2\n    width: 1\n  head:\n    <<: *small\n    width: 3\n"
        values, lines = recipe_with_lines(self.write(tmp_path, text))
        assert values["config"]["head"] == {"rate": 2, "width": 3}
        assert (lines["head.rate"], lines["head.width"], lines["body.width"]) == (3, 7, 4)

    def test_epochs_and_seed_stand_for_fields_of_the_config(self, tmp_path: Path) -> None:
        text = "task: text\nseed: 5\nepochs: 2\nconfig:\n  training: {batch_size: 8}\n"
        values, lines = recipe_with_lines(self.write(tmp_path, text))
        assert values == {
            "task": "text",
            "config": {"seed": 5, "training": {"batch_size": 8, "epochs": 2}},
        }
        assert (lines["seed"], lines["training.epochs"]) == (2, 3)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"none\.yaml: the recipe cannot be read"):
            load_recipe(tmp_path / "none.yaml")
