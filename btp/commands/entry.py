"""The command `btp`, and what `btp NAME` and `python scripts/NAME.py` have in common."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import btp
from btp.errors import ConfigError
from btp.runtime.own_files import own_file


@dataclass(frozen=True)
class Command:
    """What the help says of a command.

    Attributes:
        does: what it does, as a sentence without its subject.
        example: settings of a usual command line.
        bare: the setting that a word without a name is most likely meant for.
    """

    does: str
    example: str
    bare: str = "dataset"


COMMANDS = {
    "predict": Command("scores your own scans", "input=scan.ply", "input"),
    "calibrate": Command("sets alarm thresholds by good scans", "normal=good_scans", "normal"),
    "prepare": Command("samples and encodes a dataset", "dataset=demo"),
    "train": Command("trains on one category", "dataset=demo recipe=plus train_cat=gear"),
    "eval": Command("scores runs on unseen categories and prints tables", "dataset=demo"),
    "weights": Command("lists, gets and converts weights", "fetch=ulip2", "fetch"),
    "synthesize": Command(
        "puts defects on your own meshes", "source=my_meshes out=data/my_parts", "source"
    ),
    "export": Command("writes a detector as an ONNX file", "detector=mini out=mini.onnx", "out"),
    "gains": Command("measures what each switch of a recipe gains", "dataset=demo across=true"),
    "meshes": Command("fetches public meshes for the pretraining", "out=data/meshes", "out"),
    "pretrain": Command("pretrains the embedded model", "out=outputs/pretrain", "out"),
    "model_card": Command("measures the embedded model", "parts=data/my_parts", "parts"),
    "benchmark": Command("measures speed and memory", "only=metrics,prepare", "only"),
}


def main() -> None:
    """Run the command that is named first on the command line."""
    name, arguments = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print("usage: btp COMMAND name=value ...   btp COMMAND --help   btp --version")
        for each, command in COMMANDS.items():
            print(f"  {each:{width}}  {command.does}")
    elif name == "--version":
        print(btp.__version__)
    elif name in COMMANDS:
        run(name, arguments, f"btp {name}")
    else:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}"
        fail(f"{name} is not a command; {hint}")


def script(name: str) -> None:
    """Run a command as the script of its name."""
    run(name, sys.argv[1:], f"python scripts/{name}.py")


def run(name: str, arguments: Sequence[str], program: str) -> None:
    """Run a command, or print its help.

    Args:
        name: of `COMMANDS`.
        arguments: as typed.
        program: how it was started, for the help.
    """
    if {"-h", "--help"} & set(arguments):
        print(help_of(name, program))
        return
    from btp.commands.words import checked  # its imports take a while, and help needs none

    try:
        sys.argv[1:] = checked(name, arguments, COMMANDS[name].bare)
    except ConfigError as error:
        fail(str(error))
    importlib.import_module(f"btp.commands.{name}").main()


def help_of(name: str, program: str) -> str:
    """Return five lines on a command."""
    from btp.commands.config_files import settings_of

    command = COMMANDS[name]
    return "\n".join(
        [
            f"{program}: {command.does}",
            f"usage:    {program} name=value ...   (-m: a run for each value of name=a,b)",
            f"example:  {program} {command.example}",
            f"settings: {' '.join(settings_of(name))}",
            f"explained in {own_file('configs')}/{name}.yaml; --cfg job: as they are chosen",
        ]
    )


def fail(message: str) -> None:
    """Print what is wrong, and end with exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
