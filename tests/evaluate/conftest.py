"""What tests of pictures share."""

import pytest


@pytest.fixture
def drawn(monkeypatch):
    """Figures written during the test, in order."""
    from matplotlib.figure import Figure

    figures = []
    original = Figure.savefig

    def savefig(self, *arguments, **settings):
        figures.append(self)
        return original(self, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


@pytest.fixture
def crowded():
    """Function of a figure: headings and legends that overlap each other or leave the figure."""

    def check(figure):
        boxes = [(text.get_text(), text.get_window_extent()) for text in figure.texts]
        for axes in figure.axes:
            title = axes.get_title(loc="left")
            if title:
                boxes.append((title, axes._left_title.get_window_extent()))
            if axes.get_legend():
                boxes.append((f"legend of {title}", axes.get_legend().get_window_extent()))
        pairs = [
            (one, other)
            for i, (one, a) in enumerate(boxes)
            for other, b in boxes[i + 1 :]
            if a.overlaps(b)
        ]
        left = [name for name, b in boxes if b.x0 < 0.0 or b.x1 > figure.bbox.x1]
        return pairs + left

    return check
