"""`python -m mnist_bench` is `mnist-bench`."""

from mnist_bench.cli import main

main()
