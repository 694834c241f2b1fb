"""Statistics of recorded runs: Table I, replicates, comparisons, scaling, curves.

It reads no store and writes no report.
Start with table1.py.
"""
