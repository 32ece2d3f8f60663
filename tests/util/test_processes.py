from work import doubled

from cardsynth.util.processes import results_in_order


def test_bars_of_several_processes_are_left_to_the_parent(capfd):
    assert list(results_in_order(doubled, [1, 2, 3], workers=1)) == [2, 4, 6]
    assert "Doubling" in capfd.readouterr().err
    assert list(results_in_order(doubled, [1, 2, 3], workers=2)) == [2, 4, 6]
    assert "Doubling" not in capfd.readouterr().err
