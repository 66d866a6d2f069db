"""Plots as SVG for report pages; colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Curve", "Interval", "interval_plot", "line_plot", "ticks"]

_WIDTH = 440
_COLOURS = 8
"""How many series the style sheet has colours for."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval, drawn as a dot on a line.

    Attributes:
        label: What it is of; intervals of one label share a row.
        value: The estimate.
        low: The interval's lower end.
        high: The interval's upper end.
        series: Its colour, from 0.
        hollow: Whether the dot is drawn hollow, to tell a second group from the first.
        note: What a pointer over it shows.
    """

    label: str
    value: float
    low: float
    high: float
    series: int = 0
    hollow: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points.

    Attributes:
        label: Its name in the legend.
        x: Where its points are.
        y: Their values.
        low: Lower ends of a band around it; empty for none.
        high: Upper ends of the band.
        series: Its colour, from 0.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = field(default=())
    high: Sequence[float] = field(default=())
    series: int = 0


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers from at most ``low`` to at least ``high``, evenly spaced."""
    span = (high - low) or abs(high) or 1.0
    power = 10 ** floor(log10(span / most))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= most)
    first = floor(low / step + 1e-9)
    last = first
    while last * step < high - step * 1e-9:
        last += 1
    return [round(number * step, 10) for number in range(first, last + 1)]


def interval_plot(
    intervals: Sequence[Interval], *, description: str, percent: bool = False
) -> Markup:
    """Draw estimates with their intervals, a row for each label.

    Args:
        intervals: What to draw, in order; at least one.
        description: What the plot shows, for readers who cannot see it.
        percent: Whether values are shares, written as percentages.
    """
    labels = list(dict.fromkeys(interval.label for interval in intervals))
    scale_ticks = ticks(
        min(0.0, *(interval.low for interval in intervals)),
        max(interval.high for interval in intervals) or 1.0,
    )
    longest = max(map(len, labels))
    left, right, row = min(16 + 6.6 * min(longest, 26), 190), _WIDTH - 24, 26
    bottom = 8 + row * len(labels)
    x = _Scale(scale_ticks[0], scale_ticks[-1], left, right)
    parts = [_x_axis(scale_ticks, x, 6, bottom, percent=percent)]
    counts = {label: sum(i.label == label for i in intervals) for label in labels}
    drawn = dict.fromkeys(labels, 0)
    for number, label in enumerate(labels):
        text = label if len(label) <= 26 else f"{label[:25]}…"
        parts.append(
            _markup('<text x="0" y="{:.1f}">{}<title>{}</title></text>').format(
                8 + row * (number + 0.5) + 4, text, label
            )
        )
    for interval in intervals:
        offset = (drawn[interval.label] + 0.5) / counts[interval.label] - 0.5
        drawn[interval.label] += 1
        y = 8 + row * (labels.index(interval.label) + 0.5) + offset * row * 0.6
        parts.append(
            _markup(
                '<g class="series series-{}"><line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" '
                'y2="{:.1f}" stroke-width="2"/><circle cx="{:.1f}" cy="{:.1f}" r="4"{}/>'
                "<title>{}</title></g>"
            ).format(
                interval.series % _COLOURS,
                x(interval.low),
                x(interval.high),
                y,
                y,
                x(interval.value),
                y,
                _markup(' class="hollow"') if interval.hollow else "",
                interval.note or f"{interval.label}: {_number(interval.value, percent=percent)}",
            )
        )
    return _svg(parts, bottom + 24, description)


def line_plot(
    curves: Sequence[Curve],
    *,
    description: str,
    x_label: str = "",
    percent: bool = False,
    y_from: float | None = None,
    y_to: float | None = None,
) -> Markup:
    """Draw curves, with a legend where there is more than one.

    Args:
        curves: What to draw; at least one with at least one point.
        description: What the plot shows, for readers who cannot see it.
        x_label: What the horizontal axis is.
        percent: Whether values are shares, written as percentages.
        y_from: The vertical axis begins here, or lower. Default: at the least value.
        y_to: The vertical axis ends here, or higher. Default: at the greatest value.
    """
    values = [v for curve in curves for v in (*curve.y, *curve.low, *curve.high)]
    places = [v for curve in curves for v in curve.x]
    y_ticks = ticks(
        min(values) if y_from is None else min(y_from, *values),
        max(values) if y_to is None else max(y_to, *values),
    )
    x_ticks = [t for t in ticks(min(places), max(places)) if min(places) <= t <= max(places)]
    left, right, top, bottom = 52, _WIDTH - 14, 10, 200
    x = _Scale(min(places), max(places), left, right)
    y = _Scale(y_ticks[0], y_ticks[-1], bottom, top)
    parts = [
        _x_axis(x_ticks, x, top, bottom, percent=False),
        _y_axis(y_ticks, y, left, right, percent=percent),
    ]
    if x_label:
        text = _markup('<text class="soft" x="{:.1f}" y="{}" text-anchor="end">{}</text>')
        parts.append(text.format(right, bottom + 32, x_label))
    for curve in curves:
        points = _points(curve.x, curve.y, x, y)
        band = _points(curve.x, curve.low, x, y) + _points(curve.x, curve.high, x, y)[::-1]
        parts.append(
            _markup(
                '<g class="series series-{}"><polygon class="band" points="{}"/>'
                '<polyline class="curve" points="{}"/><title>{}</title></g>'
            ).format(curve.series % _COLOURS, " ".join(band), " ".join(points), curve.label)
        )
    height = bottom + (38 if x_label else 24)
    for number, curve in enumerate(curves if len(curves) > 1 else ()):
        parts.append(
            _markup(
                '<g class="series series-{}"><line x1="{}" x2="{}" y1="{}" y2="{}" '
                'stroke-width="3"/><text x="{}" y="{}">{}</text></g>'
            ).format(
                curve.series % _COLOURS,
                left,
                left + 18,
                height + 8 + 18 * number,
                height + 8 + 18 * number,
                left + 24,
                height + 12 + 18 * number,
                curve.label,
            )
        )
    legend = 18 * len(curves) + 6 if len(curves) > 1 else 0
    return _svg(parts, height + legend, description)


def _points(xs: Sequence[float], ys: Sequence[float], x: _Scale, y: _Scale) -> list[str]:
    return [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, ys, strict=False)]


class _Scale:
    """Maps values to coordinates."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._factor = (end - start) / ((high - low) or 1.0)

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) * self._factor


def _x_axis(
    values: Sequence[float], x: _Scale, top: float, bottom: float, *, percent: bool
) -> Markup:
    grid = _markup('<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>')
    text = _markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>')
    lines = [grid.format(x(value), top, bottom) for value in values]
    texts = [text.format(x(v), bottom + 16, _number(v, percent=percent)) for v in values]
    return _axis(lines, texts)


def _y_axis(
    values: Sequence[float], y: _Scale, left: float, right: float, *, percent: bool
) -> Markup:
    grid = _markup('<line x1="{1}" x2="{2}" y1="{0:.1f}" y2="{0:.1f}"/>')
    text = _markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>')
    lines = [grid.format(y(value), left, right) for value in values]
    texts = [text.format(left - 6, y(v) + 4, _number(v, percent=percent)) for v in values]
    return _axis(lines, texts)


def _axis(lines: Sequence[Markup], texts: Sequence[Markup]) -> Markup:
    return _markup('<g class="grid">{}</g><g class="axis">{}</g>').format(
        _markup("").join(lines), _markup("").join(texts)
    )


def _number(value: float, *, percent: bool) -> str:
    return f"{100 * value:.4g}%" if percent else f"{value:,.6g}"


def _svg(parts: Sequence[Markup], height: float, description: str) -> Markup:
    return _markup(
        '<svg class="plot" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, height, description, _markup("").join(parts))


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - of this module; what is formatted into it is escaped
