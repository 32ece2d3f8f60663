import numpy as np
import pytest

from cardsynth.core.runs import read_log
from cardsynth.evaluation.timestep_loss import TimestepErrors
from cardsynth.plots.curves import plot_gradient_norm, plot_kid, plot_learning_rate, plot_log, plot_loss_by_timestep


def lines(axes):
    return [line.get_ydata() for line in axes.lines]


class TestCurves:
    def test_the_loss_is_smoothed_without_a_false_start(self):
        log = [{"step": step, "loss": 2.0 + (-1) ** step, "learning_rate": 1e-3} for step in range(1, 201)]
        raw, smooth = lines(plot_log(log).axes[0])
        assert raw.tolist() == [row["loss"] for row in log]
        assert smooth.min() >= 1
        assert np.abs(smooth[20:] - 2).max() < 0.5 < np.abs(raw - 2).max()

    def test_the_loss_takes_a_log_scale_where_it_falls_far(self):
        far = [{"step": step, "loss": 1 / step} for step in range(1, 50)]
        near = [{"step": step, "loss": 1 + 1 / step} for step in range(1, 50)]
        assert [plot_log(log).axes[0].get_yscale() for log in (far, near)] == ["log", "linear"]

    def test_the_smooth_line_follows_a_loss_that_falls_by_powers_of_ten(self):
        log = [{"step": step, "loss": 10 ** (2 - step / 50)} for step in range(1, 201)]
        raw, smooth = lines(plot_log(log).axes[0])
        assert (smooth / raw).max() < 1.3

    def test_the_gradient_norm_of_a_run_beside_what_it_is_clipped_to(self, trained_run):
        log = read_log(trained_run)
        raw, _, clipped = lines(plot_gradient_norm(log, 0.25).axes[0])
        assert raw.tolist() == [row["gradient_norm"] for row in log]
        assert set(clipped) == {0.25}
        assert len(plot_gradient_norm(log).axes[0].lines) == 2

    def test_an_empty_log_says_so(self):
        for plot in (plot_log, plot_learning_rate, plot_gradient_norm):
            with pytest.raises(ValueError, match="train first"):
                plot([])


class TestLossByTimestep:
    def test_means_and_two_standard_errors_of_each_bin(self):
        epsilon, weighted = np.array([[1.0, 3.0], [10.0, 10.0]]), np.array([[0.5, 0.5], [0.1, 0.3]])
        one = TimestepErrors((0, 500, 1000), epsilon, weighted)
        other = TimestepErrors((0, 500, 1000), 2 * epsilon, weighted)
        figure = plot_loss_by_timestep({"training": one, "held out": other})
        left, right = figure.axes
        assert [container.lines[0].get_ydata().tolist() for container in left.containers] == [[2, 10], [4, 20]]
        assert left.containers[1].lines[0].get_xdata().tolist() == [250, 750]
        (low, high), _ = left.containers[0].lines[2][0].get_segments()
        assert (low[1], high[1]) == pytest.approx((0, 4))
        assert right.containers[0].lines[0].get_ydata() == pytest.approx([0.5, 0.2])
        assert [text.get_text() for text in left.get_legend().get_texts()] == ["training", "held out"]
        figure.draw_without_rendering()

    def test_a_single_card_has_no_error_bar_and_no_cards_no_figure(self):
        one = TimestepErrors((0, 1000), np.array([[1.0]]), np.array([[1.0]]))
        plot_loss_by_timestep({"one": one}).draw_without_rendering()
        with pytest.raises(ValueError, match="no errors"):
            plot_loss_by_timestep({})


def test_kid_is_drawn_where_it_was_measured():
    rows = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5, "kid": 0.3, "kid_low": 0.2, "kid_high": 0.5}]
    (axes,) = plot_kid(rows).axes
    line = axes.lines[0]
    assert line.get_xydata().tolist() == [[2, 0.3]]
    (bars,) = (collection.get_segments() for collection in axes.collections)
    assert bars[0][:, 1].tolist() == pytest.approx([0.2, 0.5])
    with pytest.raises(ValueError, match="set kid_epochs"):
        plot_kid(rows[:1])
