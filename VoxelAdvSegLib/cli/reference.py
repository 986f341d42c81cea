"""Writes docs/config.md and docs/cli.md from the code, so that they cannot say anything else."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from pathlib import Path

from VoxelAdvSegLib.cli.main import COMMANDS, make_parser
from VoxelAdvSegLib.config import PRESETS, SECTIONS, Config, resolve
from VoxelAdvSegLib.setting_values import CHOICES


def config_page() -> str:
    """Every setting with its meaning, and its value under each preset."""
    source = (Path(__file__).parents[1] / "config.py").read_text(encoding="utf-8")
    presets = [name for name in PRESETS if name != "best"]
    configs = {name: resolve(name, {}) for name in presets}
    lines = [
        "# Settings",
        "",
        "Written by `make docs`. Any of them can be given as `--set key=value`; `auto` means: planned from the",
        "data. Rows are those of the decision table that the method was specified with.",
    ]
    for section in SECTIONS:
        part = getattr(Config(), section)
        about = (type(part).__doc__ or "").split("\n")[0]
        lines += ["", f"## {section}", ""]
        if about and not about.startswith(type(part).__name__):
            lines += [about, ""]
        lines += ["| key | " + " | ".join(presets) + " | meaning |", "|" + "---|" * (len(presets) + 2)]
        for field in dataclasses.fields(part):
            values = [_show(getattr(getattr(configs[name], section), field.name)) for name in presets]
            comment = re.search(rf"^    {field.name}: .*?(?:  # (.*))?$", source, re.MULTILINE)
            meaning = (comment.group(1) if comment else "") or ""
            if not meaning and field.name in CHOICES:
                meaning = " or ".join(CHOICES[field.name])
            cells = " | ".join(values)
            lines.append(f"| `{field.name}` | {cells} | {meaning.replace('|', 'or')} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """The help of every command."""
    lines = ["# Command line", "", "Written by `make docs`."]
    for name in COMMANDS:
        parser = make_parser(name)
        actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        own = actions[0].choices[name]
        lines += ["", f"## {name}", "", *_help(own)]
        for action in own._actions:
            if isinstance(action, argparse._SubParsersAction):
                for part, of_part in action.choices.items():
                    lines += ["", f"### {name} {part}", "", *_help(of_part)]
    return "\n".join(lines) + "\n"


def _help(parser: argparse.ArgumentParser) -> list[str]:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)
    return ["```", parser.format_help().rstrip(), "```"]


def _show(value: object) -> str:
    if value is None:
        return "auto"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.md").write_text(config_page(), encoding="utf-8")
    (folder / "cli.md").write_text(cli_page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
