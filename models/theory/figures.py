"""Draws curves along a logarithmic axis."""

import dataclasses
from collections.abc import Mapping

_SIZE_INCHES, _DOTS_AN_INCH = (7.0, 3.8), 90


@dataclasses.dataclass(frozen=True)
class Figure:
    """Curves to draw.

    Attributes:
      title: Above the figure.
      x_label: What goes along x.
      y_label: What goes along y.
      curves: By name, points (x, y); several y of one x are drawn as dots and joined at the mean.
      guides: By name, points of a thin broken line: what was predicted.
      y_scale: `log`, on which power laws are straight, or `linear`.
    """

    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, list[tuple[float, float]]]
    guides: Mapping[str, list[tuple[float, float]]] = dataclasses.field(default_factory=dict)
    y_scale: str = "log"


def draw(figure: Figure, path: str) -> None:
    """Writes a PNG file.

    Args:
      figure: What to draw.
      path: Where to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=_SIZE_INCHES, dpi=_DOTS_AN_INCH, layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot(xscale="log", yscale=figure.y_scale, title=figure.title)
    axes.set_xlabel(figure.x_label)
    axes.set_ylabel(figure.y_label)
    colours = {name: f"C{place}" for place, name in enumerate(figure.curves)}
    for name, points in figure.curves.items():
        by_x: dict[float, list[float]] = {}
        for x, y in points:
            by_x.setdefault(x, []).append(y)
        places = sorted(by_x)
        axes.plot(*zip(*points, strict=True), ".", color=colours[name], alpha=0.4)
        means = [sum(by_x[x]) / len(by_x[x]) for x in places]
        axes.plot(places, means, "o-", color=colours[name], label=name, markersize=4)
    for name, points in figure.guides.items():
        colour = colours.get(name, "grey")
        label = None if name in colours else name
        axes.plot(*zip(*points, strict=True), "--", color=colour, linewidth=0.9, label=label)
    axes.grid(alpha=0.25, which="both", linewidth=0.4)
    canvas.legend(loc="outside right upper", fontsize=8)
    canvas.savefig(path)
