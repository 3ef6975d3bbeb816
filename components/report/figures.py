"""The figures of the page: Vega-Lite charts, drawn as SVG, so that the page needs no script."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from models.gate import MODEL, PREVIOUS

# Drawn small, so that they need no shrinking on a phone.
_WIDTH, _SLICES_WIDTH, _ROW = 300, 220, 19
_MODEL, _OTHER, _PREVIOUS = "#c2410c", "#64748b", "#0369a1"
_COLOURS = alt.Scale(domain=[MODEL, "baseline", PREVIOUS], range=[_MODEL, _OTHER, _PREVIOUS])

Row = Mapping[str, Any]


def intervals(rows: Sequence[Row], title: str, zero_line: bool = False) -> str:
    """Draws estimates with their intervals, one a line.

    Args:
      rows: In order, `name`, `kind` (`t2rec`, `baseline` or `previous`), `value`, `low`, `high`.
      title: What is measured, and its unit.
      zero_line: Whether to mark 0, where a difference is none.
    """
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        y=alt.Y("name:N", sort=None, title=None),
        color=alt.Color("kind:N", scale=_COLOURS, legend=None),
    )
    scale = alt.Scale(zero=False, nice=True)
    layers = [
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", scale=scale, title=title), x2="high:Q"
        ),
        base.mark_point(filled=True, size=55, opacity=1).encode(x=alt.X("value:Q", scale=scale)),
    ]
    if zero_line:
        nothing = alt.Chart(alt.Data(values=[{"x": 0.0}]))
        layers.insert(0, nothing.mark_rule(strokeDash=[3, 3], color="#94a3b8").encode(x="x:Q"))
    return _svg(alt.layer(*layers).properties(width=_WIDTH, height=_ROW * max(len(rows), 1)))


def slices(rows: Sequence[Row], title: str) -> str:
    """Draws a metric in every slice, of ours and of another model.

    Args:
      rows: In order, `slice`, `model` and `value`; ours comes first.
      title: What is measured.
    """
    chart = (
        alt
        .Chart(alt.Data(values=list(rows)))
        .mark_point(filled=True, size=50, opacity=0.9)
        .encode(
            x=alt.X("value:Q", scale=alt.Scale(zero=False), title=title),
            y=alt.Y("slice:N", sort=None, title=None, axis=alt.Axis(labelLimit=200)),
            color=alt.Color(
                "model:N",
                title=None,
                sort=None,
                scale=alt.Scale(
                    domain=list(dict.fromkeys(row["model"] for row in rows)),
                    range=[_MODEL, _OTHER],
                ),
                legend=alt.Legend(orient="top"),
            ),
            shape=alt.Shape("model:N", sort=None, legend=None),
        )
    )
    num_slices = len({row["slice"] for row in rows})
    return _svg(chart.properties(width=_SLICES_WIDTH, height=_ROW * max(num_slices, 1)))


def curves(rows: Sequence[Row], x: str, y: str, points: bool = True, diagonal: bool = False) -> str:
    """Draws lines.

    Args:
      rows: `x`, `y` and `name`, the line they belong to.
      x: Title of the horizontal axis.
      y: Title of the vertical one.
      points: Whether to mark the points.
      diagonal: Whether to mark where both are equal.
    """
    chart = (
        alt
        .Chart(alt.Data(values=list(rows)))
        .mark_line(point=points)
        .encode(
            x=alt.X("x:Q", title=x, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", title=y, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "name:N",
                title=None,
                legend=alt.Legend(orient="top", columns=2, labelLimit=160),
                sort=None,
                scale=alt.Scale(
                    domain=list(dict.fromkeys(row["name"] for row in rows)),
                    range=[_MODEL, _OTHER, _PREVIOUS, "#15803d"],
                ),
            ),
        )
    )
    if diagonal:
        ends = [min(row["x"] for row in rows), max(row["x"] for row in rows)]
        line = alt.Chart(alt.Data(values=[{"x": end, "y": end} for end in ends]))
        mark = line.mark_line(strokeDash=[3, 3], color="#94a3b8").encode(x="x:Q", y="y:Q")
        chart = alt.layer(mark, chart)
    return _svg(chart.properties(width=_WIDTH, height=190))


def bars(rows: Sequence[Row], title: str) -> str:
    """Draws horizontal bars, in the order of the rows: `name`, `value`."""
    chart = (
        alt
        .Chart(alt.Data(values=list(rows)))
        .mark_bar(color=_OTHER)
        .encode(x=alt.X("value:Q", title=title), y=alt.Y("name:N", sort=None, title=None))
    )
    return _svg(chart.properties(width=_WIDTH, height=_ROW * max(len(rows), 1)))


def _svg(chart: alt.TopLevelMixin) -> str:
    styled = (
        chart
        .configure(font="sans-serif", background="transparent")  # type: ignore[attr-defined]
        .configure_axis(labelLimit=150, gridColor="#e2e8f0", domainColor="#94a3b8")
        .configure_view(stroke=None)
    )
    drawn = io.StringIO()
    styled.save(drawn, format="svg")
    # As wide as the page lets it be: the box tells its proportions.
    return re.sub(r'<svg ([^>]*?)width="\d+" height="\d+"', r"<svg \1", drawn.getvalue(), count=1)
