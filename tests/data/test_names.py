"""Which column holds which field."""

from __future__ import annotations

import pytest

from kerasft.data import Field, open_source
from kerasft.errors import ConfigError, DataError

TEXT = Field(name="text", aliases=("headline",))
LABEL = Field(name="label", kind="label", target=True, aliases=("mood",))
TOKENS = (Field(name="tokens", kind="tokens"), Field(name="tags", kind="tags", target=True))


def opened(write, header, *rows, fields=(TEXT, LABEL), **options):
    return open_source(write("d.csv", "\n".join([header, *rows]) + "\n"), fields=fields, **options)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("text,label", "by name"),
        ("Text , LABEL", "whatever the case"),
        ("headline,mood", "by alias"),
        ("sentence,sentiment", "by usual names"),
    ],
)
def test_found(write, header, why):
    source = opened(write, header, "good film,1")
    assert source.take([0]) == {"text": ["good film"], "label": ["1"]}
    assert source.notes == ()


def test_the_name_wins_over_aliases_and_a_choice_over_the_name(write):
    source = opened(write, "headline,text,label,mood", "a,b,c,d")
    assert source.take([0]) == {"text": ["b"], "label": ["c"]}
    source = opened(
        write, "headline,text,label,mood", "a,b,c,d", columns={"text": "headline", "label": "mood"}
    )
    assert source.take([0]) == {"text": ["a"], "label": ["d"]}


def test_the_only_columns_that_fit_are_guessed_and_noted(write):
    rows = [f"{at},this is sentence {at},{'xyz'[at % 3]}" for at in range(9)]
    source = opened(write, "nr,was,wie", *rows)
    assert source.take([4]) == {"text": ["this is sentence 4"], "label": ["y"]}
    assert set(source.notes) == {
        "d.csv: read the column 'wie' as 'label', the only one that fits",
        "d.csv: read the column 'was' as 'text', the only one that fits",
        "d.csv: no column has a name that is known; is the first line a header?",
    }


def test_a_guess_that_is_not_clear_is_an_error_that_lists_the_columns(write):
    with pytest.raises(DataError) as error:
        opened(write, "first,second,label", "a b,c d,1", "e f,g h,0")
    assert str(error.value) == (
        "d.csv has no column for 'text'; the columns are 'first', 'second', 'label': "
        'name it with columns={"text": "first"} (--column text=first); is the first line a header?'
    )
    with pytest.raises(DataError, match="has no column for 'label'; the columns are 'id', 'text'"):
        opened(write, "id,text", *(f"{at},text number {at}" for at in range(20)))


def test_a_field_may_say_what_to_do_where_it_is_missing(write):
    turns = Field(name="turns", kind="strings", remedy="write a conversation a row")
    with pytest.raises(DataError) as error:
        opened(write, "text,label", "a b,1", fields=(TEXT, turns))
    assert str(error.value) == (
        "d.csv has no column for 'turns'; the columns are 'text', 'label': "
        "write a conversation a row; is the first line a header?"
    )


def test_a_text_of_numbers_is_not_guessed(write):
    with pytest.raises(DataError, match="no column for 'text'"):
        opened(write, "id,label", "1,x", "2,y")


def test_known_classes_settle_a_guess(write):
    label = Field(name="label", kind="label", target=True, classes=("pos", "neg"))
    source = opened(
        write, "was,wie,x", "good film,pos,a", "bad film,neg,b", fields=(TEXT, label), columns={"text": "was"}
    )
    assert source.take([0, 1])["label"] == ["pos", "neg"]


@pytest.mark.parametrize("column", ["lable", "zzz"])
def test_a_chosen_column_must_exist(write, column):
    with pytest.raises(
        DataError, match=f"no column '{column}' for the field 'label'; the columns are"
    ) as error:
        opened(write, "text,label", "a,b", columns={"label": column})
    assert ("did you mean 'label'?" in str(error.value)) == (column == "lable")


def test_a_chosen_field_must_exist(write):
    with pytest.raises(ConfigError, match="names the field 'txt'; the fields of this task are label, text"):
        opened(write, "text,label", "a,b", columns={"txt": "text"})


def test_one_column_cannot_be_two_fields(write):
    with pytest.raises(DataError, match="'text' and 'label' would both be read from the column 'text'"):
        opened(write, "text,x", "a,b", columns={"text": "text", "label": "text"})


def test_targets_are_not_needed_for_prediction(write):
    source = opened(write, "sentence", "a", targets=False, columns={"label": "sentiment"})
    assert source.columns == ("text",)
    assert opened(write, "was", "a film", targets=False).take([0]) == {"text": ["a film"]}


def test_alternatives_are_chosen_by_the_columns(write):
    for header, row, names in (
        ("text,label", "a b,O O", ("text", "label")),
        ("tokens,tags", "a b,O O", ("tokens", "tags")),
        ("words,ner", "a b,O O", ("tokens", "tags")),
    ):
        assert opened(write, header, row, alternatives=[TOKENS]).columns == names
    chosen = opened(write, "text,label,tags", "a b,x,O O", alternatives=[TOKENS], columns={"tokens": "text"})
    assert chosen.columns == ("tokens", "tags")
    with pytest.raises(DataError, match="no column for 'text' and 'label' or 'tokens' and 'tags'"):
        opened(write, "a,b,c", "x,y,z", alternatives=[TOKENS])


def test_an_optional_field_may_be_absent(write):
    fold = Field(name="fold", kind="id", required=False)
    assert opened(write, "text,label", "a,b", fields=(TEXT, LABEL, fold)).columns == ("text", "label")
    assert opened(write, "text,label,fold", "a,b,3", fields=(TEXT, LABEL, fold)).take([0])["fold"] == ["3"]


def test_a_first_line_read_as_a_header_is_noted(write):
    rows = [f"the film was number {i},{'good' if i % 2 else 'bad'}" for i in range(8)]
    guessed = opened(write, "what a film,good", *rows)
    assert len(guessed) == 8
    assert guessed.notes[-1].endswith("no column has a name that is known; is the first line a header?")
    assert not any("header" in note for note in opened(write, "text,verdict", *rows).notes)


def test_a_file_without_a_header_is_explained(write):
    with pytest.raises(DataError, match=r"the columns are 'what a film', '1'.* is the first line a header\?"):
        opened(write, "what a film,1", "bad,0")
