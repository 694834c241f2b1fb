"""Comparisons as text and files."""
