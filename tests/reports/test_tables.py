"""Tables of a task's own in the report of a run."""

from __future__ import annotations

from pathlib import Path

from kerasft.reports.tables import TABLES, save_table, tables


def test_tables_come_in_the_order_of_their_names_and_are_escaped(tmp_path: Path) -> None:
    save_table(tmp_path, "2-worst", title="Worst", headings=["text", "score"], rows=[["<b>猫</b>", "0.1"]])
    save_table(tmp_path, "1-all", title="First", headings=["a"], rows=[["old"]])
    save_table(tmp_path, "1-all", title="First", headings=["a"], rows=[["new"]])
    page = tables(tmp_path)
    assert page.index("First") < page.index("Worst")
    assert "&lt;b&gt;猫&lt;/b&gt;" in page
    assert "new" in page
    assert "old" not in page


def test_a_broken_table_only_makes_the_report_shorter(tmp_path: Path) -> None:
    save_table(tmp_path, "good", title="Good", headings=["a"], rows=[["b"]])
    for name, content in (("half", '{"title": "Bad'), ("other", '{"title": "Bad"}'), ("list", "[1]")):
        (tmp_path / TABLES / f"{name}.json").write_text(content, encoding="utf-8")
    assert "Good" in tables(tmp_path)
    assert "Bad" not in tables(tmp_path)


def test_no_tables_are_nothing(tmp_path: Path) -> None:
    assert tables(tmp_path) == ""
