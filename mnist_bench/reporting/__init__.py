"""Reports as HTML, Markdown, CSV, JSON and terminal text, with their charts.

Start with build.py and model.py. Statistics are computed in `analysis`.
"""
