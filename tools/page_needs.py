"""What a page needs to run anywhere: files of the project that it reads, extras of mwmae, and other packages.

All three are found in the code of the page; only `USED_INSIDE` is kept by hand. tools/online.py makes the first cell from it.
"""
import ast
import re
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from nbdev.config import get_config
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from wheel_env import closure, required

ROOT = Path(__file__).resolve().parent.parent
SOUNDS = "sounds"  # a word that names a folder of nbs/ where a function is given it
HERE = "./"  # nbs/, where a page runs
THERE = "ipython"  # what every notebook has
USED_INSIDE = {  # extras that the library needs for what a page does, by the name of the page
    "far_files": ["remote"],
    "howto_embed": ["parquet"],
    "hub_folder": ["convert", "transformers"],
    "recordings": ["remote"],
    "sources": ["remote"],
    "without_torch": ["onnx"],
}


def syntax(
    source: str,  # of a cell
) -> ast.Module:
    "Parse a cell, without lines that only IPython understands."
    return ast.parse(re.sub(r"^[%!].*", "", source, flags=re.MULTILINE))


class Reads(ast.NodeVisitor):
    "Follows paths through the code of a page: strings, f-strings, `Path(...)`, `/`, and variables that hold one of these."

    def __init__(self):
        self.nbs, self.held, self.files = get_config().nbs_path.resolve(), {}, set()

    def pattern(
        self,
        node: ast.AST,  # an expression
    ) -> str:  # a path seen from nbs/, with * for what is not known; empty if it is none
        "What an expression says of a path."
        match node:
            case ast.Constant(value=str(text)):
                return "" if "*" in text else text
            case ast.Name(id=name):
                return self.held.get(name, "")
            case ast.Call(func=ast.Name(id="Path"), args=[ast.Constant(value=str(text))]):
                return f"{text}/"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="Path"), attr="cwd")):
                return HERE
            case ast.Attribute(attr="parent", value=value) if self.pattern(value) == HERE:
                return f"{HERE}.."
            case ast.BinOp(op=ast.Div(), left=left, right=right):
                return f"{start}/{self.pattern(right) or '*'}".replace("//", "/") if (start := self.pattern(left)) else ""
            case ast.JoinedStr(values=parts):
                texts = [self.pattern(getattr(part, "value", part) if isinstance(part, ast.FormattedValue) else part) for part in parts]
                return "".join(text or "*" for text in texts)
        return ""

    def found(
        self,
        pattern: str,  # see above
    ) -> set[Path]:  # empty if it names nothing
        "Files that a path names: itself, all of a folder, all that fit."
        if not re.fullmatch(r"(\./|\.\./)*\w[\w.-]*/[\w.*/-]*|\./(\.\./)?\w[\w.-]*", pattern):
            return set()
        name = re.sub(r"\*+", "*", pattern.rstrip("/"))
        paths = list(self.nbs.glob(name)) if "*" in name else [self.nbs / name]
        files = {file.resolve() for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}
        return {file for file in files if file.is_relative_to(ROOT) and "__pycache__" not in file.parts}

    def visit(self, node):
        "Take the largest expressions that name files; a variable counts where it is used."
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.held.pop(name, None)
                if (pattern := self.pattern(value)).startswith(HERE) or self.found(pattern):
                    self.held[name] = pattern
                    return
            case ast.FunctionDef(args=arguments):
                held = self.held
                own = {each.arg for each in ast.walk(arguments) if isinstance(each, ast.arg)}
                self.held = {name: pattern for name, pattern in held.items() if name not in own}
                self.generic_visit(node)
                self.held = held
                return
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
                for name, value in zip(names, values):
                    self.visit(ast.Assign([name], value))
                return
            case ast.Call(args=arguments) if any(self.pattern(each) == SOUNDS for each in arguments):
                self.files |= self.found(f"{SOUNDS}/")
        files = self.found(self.pattern(node))
        self.files |= files
        if not files:
            self.generic_visit(node)


def files_read(
    modules: list[ast.Module],  # the syntax of each cell, in order
) -> list[str]:  # paths in the project
    "The files that a page reads, as far as its code says."
    reads = Reads()
    for module in modules:
        reads.visit(module)
    return sorted(file.relative_to(ROOT).as_posix() for file in reads.files)


@cache
def known() -> tuple[dict, set, dict, dict]:  # module -> packages; packages; package -> extra; package -> its pin
    "Where modules come from; what comes with mwmae or with a notebook; what its extras bring; what else its tests use."
    own = distribution(get_config().lib_name)
    base = {canonicalize_name(one.name) for one in required(own, set())}
    extras = {}
    for extra in sorted(set(own.metadata.get_all("Provides-Extra")) - {"dev"}):
        extras |= {canonicalize_name(one.name): extra for one in required(own, {extra}) if one.name not in base}
    pins = {canonicalize_name(one.name): f"{one.name}{one.specifier}" for one in required(own, {"dev"})}
    there = {*closure([*required(own, set()), Requirement(THERE)]), canonicalize_name(own.name)}
    return packages_distributions(), there, extras, pins


def needs(
    name: str,  # of a page
    code: list[ast.Module],  # the syntax of each cell
) -> tuple[list[str], list[str]]:  # extras, and requirements beside mwmae
    "What has to be installed so that a page runs."
    imported = set()
    for node in (node for cell in code for node in ast.walk(cell)):
        if isinstance(node, ast.Import):
            imported |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.partition(".")[0])
    modules, there, from_extras, pins = known()
    packages = {canonicalize_name(modules[each][0]) for each in imported & modules.keys()} - there
    extras = {from_extras[package] for package in packages if package in from_extras}
    others = {pins.get(package, package) for package in packages - set(from_extras)}
    return sorted(extras | set(USED_INSIDE.get(name, []))), sorted(others)
