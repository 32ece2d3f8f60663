"""Elements that the figures of studies share: bare axes, and a mean with its interval."""

from matplotlib.axes import Axes

from cardsynth.util.intervals import Figure


def strip_axes(axes: Axes) -> None:
    """Removes all spines but the bottom one, and the ticks of the vertical axis."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def draw_interval(axes: Axes, row: int, figure: Figure, color: str, scale: float = 1) -> None:
    """Draws a figure as a dot on a bar that spans its interval; an interval of NaN has no bar.

    Args:
        axes: Axes to draw into.
        row: Vertical position.
        figure: The figure.
        color: Color of dot and bar.
        scale: Factor of the horizontal axis.
    """
    axes.plot([scale * figure.low, scale * figure.high], [row, row], color=color, linewidth=3, solid_capstyle="butt")
    axes.plot(scale * figure.value, row, "o", color=color)
