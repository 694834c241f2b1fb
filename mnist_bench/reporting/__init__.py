"""Reports as HTML, Markdown, CSV, JSON and text on a terminal, with their charts.

It computes no statistics: analysis does.
Start with build.py and model.py.
"""
