"""The commands: options, and the orchestration of each, a file a command.

It computes nothing itself: what a command needs lies in the packages below.
Start with main.py, then run.py.
"""
