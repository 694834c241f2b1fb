"""PyTorch with its fastest settings: eager, compiled, and in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from contenders import Task, batches

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Images

_SCORED_AT_ONCE = {"float32": 100, "bfloat16": 500}
"""Images per batch: the fastest of 50, 100, 250, 500, 1,000 and 2,500."""


class WithTorch:
    """The network as a PyTorch module; the task's name selects the variant."""

    def __init__(self, task: Task) -> None:
        import torch

        dataset = mnist.load(task.source)
        torch.manual_seed(task.seed)
        self._precision = "bfloat16" if task.name == "torch-bfloat16" else "float32"
        self._scored_at_once = _SCORED_AT_ONCE[self._precision]
        self._train = _tensors(dataset.train)
        self._test = _tensors(dataset.test_images)
        self._batches = batches(len(dataset.train.labels), task.seed)
        self._model = _model().to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-3, eps=1e-8, fused=True)
        compiled = task.name == "torch-compile"
        self._forward = torch.compile(self._model) if compiled else self._model
        self.settings = (
            f"{self._precision}, {task.threads} threads, "
            "channels last, `Adam(fused=True)`, gradients set to None, scored under "
            f"`inference_mode`{', forward and backward compiled' if compiled else ''}"
        )
        self.ways = {f"{self._scored_at_once:,} at once": self._accuracy}
        self._step = 0

    def train(self, stops: Sequence[int], reached: Callable[[], None]) -> None:
        """Train to the last stop."""
        self._model.train()
        for stop in stops:
            while self._step < stop:
                self._update()
                self._step += 1
            reached()
            self._model.train()

    def _update(self) -> None:
        import torch

        chosen = torch.from_numpy(next(self._batches))
        images, labels = self._train[0][chosen], self._train[1][chosen]
        with self._autocast():
            loss = torch.nn.functional.cross_entropy(self._forward(images), labels)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()

    def _accuracy(self) -> float:
        import torch

        self._model.eval()
        images, labels = self._test
        correct = 0
        with torch.inference_mode(), self._autocast():
            for begin in range(0, len(labels), self._scored_at_once):
                batch = slice(begin, begin + self._scored_at_once)
                correct += int((self._forward(images[batch]).argmax(1) == labels[batch]).sum())
        return correct / len(labels)

    def _autocast(self) -> Any:
        import torch

        is_on = self._precision == "bfloat16"
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_on)


def _tensors(images: Images) -> tuple[Any, Any]:
    """Images float32 (n, 1, 28, 28) in [0, 1] and labels int64 (n,)."""
    import torch

    pixels = torch.tensor(images.pixels)[:, None].float() / 255
    return pixels.to(memory_format=torch.channels_last), torch.tensor(images.labels).long()


def _model() -> Any:
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 64, 1024),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(1024, 10),
    )
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            nn.init.constant_(value, 0.1)
        else:
            nn.init.trunc_normal_(value, std=0.1, a=-0.2, b=0.2)
    return model


def prepare(threads: int) -> None:
    """Import PyTorch and set its threads."""
    import torch

    torch.set_num_threads(threads)


make = WithTorch
