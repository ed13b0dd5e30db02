"""Functions that read data from a figure."""


def drawn(fig):
    """Render a figure and return its axes."""
    fig.draw_without_rendering()
    return fig.axes


def curve(ax, label):
    """(x, y) of the line with this label."""
    (line,) = [line for line in ax.get_lines() if line.get_label() == label]
    return line.get_data()


def measured(ax):
    """(x, y) of each set of points."""
    return [container.lines[0].get_data() for container in ax.containers if hasattr(container, "has_yerr")]
