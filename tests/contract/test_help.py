"""`docs/commands.md` contains the `--help` of every command."""

from __future__ import annotations

from pathlib import Path

import click
from golden import assert_same_text

from mnist_bench.cli.main import cli

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEAD = """# Commands

The output of `--help`. Renew it with
`MNIST_BENCH_RENEW_GOLDEN=1 pytest tests/contract/test_help.py`.

## Completion in the shell

Commands, options, scenarios and search spaces complete with the tab key once the shell has read one
of these lines, for instance from its start-up file:

```sh
eval "$(_MNIST_BENCH_COMPLETE=bash_source mnist-bench)"   # ~/.bashrc
eval "$(_MNIST_BENCH_COMPLETE=zsh_source mnist-bench)"    # ~/.zshrc
_MNIST_BENCH_COMPLETE=fish_source mnist-bench | source    # ~/.config/fish/config.fish
```
"""


def help_text(command: click.Command, name: str, parent: click.Context | None) -> str:
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=80,
        max_content_width=80,
        help_option_names=["-h", "--help"],
    )
    return command.get_help(context)


def commands_page() -> str:
    root = click.Context(cli, info_name="mnist-bench")
    pages = [("mnist-bench", help_text(cli, "mnist-bench", None))]
    for name, command in cli.commands.items():
        pages.append((f"mnist-bench {name}", help_text(command, name, root)))
        parent = click.Context(command, info_name=name, parent=root)
        pages += [
            (f"mnist-bench {name} {inner}", help_text(child, inner, parent))
            for inner, child in getattr(command, "commands", {}).items()
        ]
    return HEAD + "".join(f"\n## {name}\n\n```text\n{text}\n```\n" for name, text in pages)


def test_commands_page_is_up_to_date() -> None:
    assert_same_text(PAGE, commands_page())
