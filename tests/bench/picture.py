"""A picture of the results; needs matplotlib."""

from __future__ import annotations

from typing import Any

__all__ = ["draw"]

SERIES = (("nodelay", "rpyc, TCP_NODELAY"), ("pure", "ours, pure Python"), ("ours", "ours"))
COLOURS = ("#9aa0a6", "#8ab4f8", "#1a73e8")


def draw(results: dict[str, dict[str, Any]], titles: dict[str, str], path: str) -> None:
    """Draws how much faster than rpyc each row is, on a logarithmic scale.

    Args:
        results: medians by row and contestant.
        titles: of the rows.
        path: of the file, whose ending says what kind of picture it is.
    """
    import matplotlib  # type: ignore[import-not-found,unused-ignore]

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "rpyc_like"
    from matplotlib import pyplot as plot  # type: ignore[import-not-found,unused-ignore]

    rows = [row for row, by_name in results.items() if {"rpyc", "ours"} <= by_name.keys()]
    figure, axes = plot.subplots(figsize=(9, 0.55 * len(rows) + 1.2))
    height = 0.8 / len(SERIES)
    for place, ((name, label), colour) in enumerate(zip(SERIES, COLOURS)):
        values = [
            results[row]["rpyc"]["us"] / results[row][name]["us"] if name in results[row] else 0
            for row in rows
        ]
        places = [number + (place - 1) * height for number in range(len(rows))]
        bars = axes.barh(places, values, height, label=label, color=colour)
        axes.bar_label(bars, [f"{value:.3g}" if value else "" for value in values], fontsize=7)
    axes.set_yticks(range(len(rows)), [titles[row] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="#5f6368", linewidth=0.8)
    axes.set_xlabel("times as fast as rpyc 6.0.2 (1: as fast)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.01)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncol=3, fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
