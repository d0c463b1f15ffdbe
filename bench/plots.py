"""Draws the growth curves of a bench.json: `python plots.py BENCH_JSON FOLDER`. Runs where matplotlib is, which is not ours."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter


def plain(value, _position):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def draw(curve, about, target):
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    styles = [("o", "-"), ("s", "-"), ("^", "-"), ("o", "--"), ("s", "--"), ("^", "--")]
    for (name, points), (marker, line) in zip(curve["series"].items(), styles * 3, strict=False):
        axes.plot(*zip(*points, strict=True), marker=marker, linestyle=line, label=name)
    axes.set_title(curve["title"])
    axes.set_xlabel(curve["x"])
    axes.set_ylabel(curve["y"])
    for axis, logarithmic in ((axes.xaxis, curve["log_x"]), (axes.yaxis, curve["log_y"])):
        if logarithmic:
            axis.axes.set(**{f"{axis.axis_name}scale": "log"})
            axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=20))
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(plain))
    if not curve["log_y"]:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, which="major", alpha=0.4)
    axes.legend()
    figure.supxlabel(f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, {about['date'][:10]}", fontsize=8, color="grey")
    figure.savefig(target, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    kept, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for result in kept["lines"].values():
        for one in result["curves"]:
            path = folder / f"{one['name']}.png"
            draw(one, kept["machine"], path)
            print(f"Curve: {path}")
