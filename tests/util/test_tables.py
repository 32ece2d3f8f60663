from cardsynth.util.tables import csv_bytes, markdown_table


def test_csv_has_six_digits_and_leaves_missing_cells_empty():
    rows = [{"name": "a, b", "share": 1 / 3, "steps": 12_345_678}, {"name": "c", "share": None}]
    assert csv_bytes(["name", "share", "steps"], rows, digits=6) == b'name,share,steps\n"a, b",0.333333,12345678\nc,,\n'


def test_markdown_has_three_digits_and_leaves_missing_cells_empty():
    assert markdown_table(["a", "b"], [(1 / 3, None), ("x", 2)]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 0.333 |  |",
        "| x | 2 |",
    ]
