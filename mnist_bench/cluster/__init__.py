"""Many machines: trainings as jobs of a Dask cluster; the leader alone records them.

Start with leader.py, then tasks.py. `distributed`, the extra `cluster`, is imported inside
functions and by worker_setup.py.
"""
