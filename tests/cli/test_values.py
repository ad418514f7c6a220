"""Config values as flags of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasft.cli.values import spelled_out

KNOWN = ("--set", "--data", "--json", "-h")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("text --width 8", "text --set width=8"),
        ("--training.epochs=3 text", "--set training.epochs=3 text"),
        ("--a-b 1", "--a-b 1"),
        ("--width", "--width"),
        ("--width --json", "--width --json"),
        ("--width -1", "--set width=-1"),
        ("--dta x", "--dta x"),
        ("--data x --json", "--data x --json"),
        ("-- --width 8", "-- --width 8"),
    ],
)
def test_what_is_no_option_is_a_config_value(args, expected):
    assert list(spelled_out(args.split(), known=KNOWN)) == expected.split()


@given(st.lists(st.sampled_from([*KNOWN, "x", "a=b", "--set=c=1", "", "-", "--"])))
def test_what_a_command_knows_stays(args):
    assert list(spelled_out(args, known=KNOWN)) == args


@pytest.mark.usefixtures("plugin")
def test_commands_take_them(cli):
    shared = ("describe", "tinymood", "--build", "--json")
    assert cli(*shared, "--labels", "[a, b]").json == cli(*shared, "--set", "labels=[a, b]").json
    assert "bukets" in cli("describe", "tinymood", "--bukets=3", code=2).err
    assert cli("describe", "--help", "tinymood").out == cli("describe", "--help").out
    assert "No such option: --jsn" in cli("describe", "tinymood", "--jsn", "3", code=2).err
