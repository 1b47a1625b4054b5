"""All stages by name: `python -m strongscale`; `python -m strongscale <stage> --help` says what one takes.

Snakemake's rules call the same stages. People mostly want `status`, `advice` and `data.inspect`.
"""

import ast
import sys
from importlib import import_module
from pathlib import Path

from strongscale.common.command import run
from strongscale.common.errors import UserError

PACKAGE = Path(__file__).parent


def stages() -> dict[str, str]:
    """Every module that is a command line, by its name below the package, with what it does in a sentence."""
    found = {}
    for path in sorted(PACKAGE.glob("*/**/*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, str(path))
        mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
        if mains and text.rstrip().endswith("(main)"):
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__main__")
            found[name] = _sentence(ast.get_docstring(mains[0]) or ast.get_docstring(tree) or "")
    return found


def _sentence(text: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(text.partition("\n\n")[0].split())


def main(arguments: list[str]) -> None:
    """List the stages, or run one."""
    known = stages()
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, known))
        lines = [f"  {name:<{width}}  {what}" for name, what in known.items()]
        sys.stdout.write("\n".join(["usage: python -m strongscale <stage> [--help]", "", *lines]) + "\n")
        return
    name, *rest = arguments
    if name not in known:
        raise UserError(f"{name}: no such stage; allowed: {', '.join(known)}")
    is_package = (PACKAGE / Path(*name.split("."))).is_dir()
    import_module(f"strongscale.{name}{'.__main__' if is_package else ''}").main(rest)


if __name__ == "__main__":
    run(main)
