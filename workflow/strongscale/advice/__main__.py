"""Advice from measured runs: `python -m strongscale.advice <command>`; each command has its --help."""

import argparse
from importlib import import_module

from strongscale.common.command import run

COMMANDS = {"law": "law_command", "law-check": "law_check", "leave-out": "leave_out", "study": "study"}


def main(arguments: list[str]) -> None:
    """law: the law of batch size of measured runs; law-check: how often its intervals hold the truth, by simulation;
    leave-out: what few workers of a finished study foretell of many, beside what came; study: advice on a study.
    """
    parser = argparse.ArgumentParser(prog="strongscale.advice", description=main.__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the command")
    options = parser.parse_args(arguments)
    import_module(f"strongscale.advice.{COMMANDS[options.command]}").main(options.arguments)


if __name__ == "__main__":
    run(main)
