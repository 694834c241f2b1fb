"""Statistics of recorded runs: Table I, replicates, comparisons, scaling, curves.

Start with table1.py. Reading MLflow and writing reports is done elsewhere.
"""
