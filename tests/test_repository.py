"""The repository as a whole: its lock, its size, the order of its imports, its safety, its papers."""

from __future__ import annotations

import ast
import importlib.metadata
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medisyn_lib.modalities import MODALITIES
from medisyn_lib.phantoms import draw

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "medisyn_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(), str(path)) for path in MODULES}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(text) for text in PROJECT["dependencies"]]
DEVELOPMENT = [Requirement(text) for text in PROJECT["optional-dependencies"]["dev"]]
ADAPTERS = [Requirement(text) for text in PROJECT["optional-dependencies"]["lora"]]
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines()]
LOCKED = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in LOCK}

# The rooms of the house, from the ground up: a file imports from its own room and from those before it.
ORDER = """
    errors modalities profiles runtime phantoms data statistics models sampling training pipeline evaluation claims
    reporting reader_study cli
""".split()
HEAVY = "torch torchvision diffusers transformers datasets matplotlib seaborn pandas sklearn timm accelerate".split()
# What checks the input before any long work: it brings nothing heavy, the rest torch at the most.
LIGHT = "phantoms data statistics reader_study cli".split()
OLDEST = {
    "python_version": "3.11",
    "python_full_version": "3.11.5",
}  # one lock serves it and all newer ones
GLOBAL_SEEDS = (
    "np.random.seed",
    "random.seed",
    "torch.manual_seed",
    "torch.random.manual_seed",
    "torch.cuda.manual_seed",
)
CONDA_NAMES = {"pytorch": "torch"}  # what conda-forge calls differently


# What the project once called things, and the field's terms for them. Whoever reads should not need
# a dictionary. Names, comments, docstrings and pages are searched; other strings hold the names inside
# result files and figures, which stay.
PRIVATE_TERMS = {
    r"way back": "backward pass",
    r"keeps no room": "activation checkpointing",
    r"nought": "scratch, zero",
    r"surely (better|worse|lower|higher)": "the 95% interval excluding zero",
    r"throw-?away": "auxiliary",
    r"on the clock": "wall-clock",
    r"over-?trained": "overfitted",
    r"keep_together|kept together": "cached jointly",
    r"put in, not found": "assumed by construction",
    r"NO_TEXT": "caption dropout",
    r"of_all": "all_gather",
    r"share_right": "accuracy",
    r"chances": "probabilities",
    r"leaders": "exceedances",
    r"suspicions?": "joint conformal p-value",
    r"looks_like": "describes",
    r"(?<!degrees_of_)(?<!degrees of )freedom": "degrees_of_freedom",
    r"(?<!\")(?<!\*)first stage(?!\")(?!\*)": "autoencoder (quoted where the term is introduced)",
}


def name_of(path: Path) -> str:
    """A file's name in a test report."""
    return str(path.relative_to(ROOT))


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imported(tree: ast.AST) -> set[str]:
    """Every absolute module name that a file imports, those inside functions included."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def public_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    """Functions of a module and methods of its classes whose name does not start with `_`."""
    bodies: list[ast.Module | ast.ClassDef] = [
        tree,
        *(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"),
    ]
    found = [node for body in bodies for node in body.body if isinstance(node, ast.FunctionDef)]
    return [node for node in found if not node.name.startswith("_")]


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_the_lock_pins_everything_and_names_no_place() -> None:
    assert len(LOCKED) == len(LOCK)
    for pin in LOCK:
        assert [s.operator for s in pin.specifier] == ["=="], pin
        assert pin.url is None and "*" not in str(pin.specifier), pin
    for name in LOCKED:
        if name.startswith(("nvidia-", "cuda-", "triton")):
            assert any(
                canonicalize_name(p.name) == name and "linux" in str(p.marker) for p in LOCK
            ), name


@pytest.mark.parametrize("requirement", DIRECT + ADAPTERS + DEVELOPMENT, ids=str)
def test_the_lock_satisfies_each_direct_dependency(requirement: Requirement) -> None:
    assert requirement.specifier, "a direct dependency needs a lower bound"
    assert requirement.specifier.contains(LOCKED[canonicalize_name(requirement.name)])


def test_the_lock_holds_what_the_dependencies_need_and_nothing_else() -> None:
    todo, seen = [*DIRECT, *ADAPTERS, *DEVELOPMENT], set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for child in map(Requirement, importlib.metadata.requires(requirement.name) or []):
            environments = [
                {"extra": extra} | old
                for extra in requirement.extras or {""}
                for old in ({}, OLDEST)
            ]
            if child.marker is None or any(child.marker.evaluate(e) for e in environments):
                todo.append(child)
    here = {
        canonicalize_name(pin.name) for pin in LOCK if pin.marker is None or pin.marker.evaluate()
    }
    assert {name for name, _ in seen} == here


def test_every_file_of_every_pin_has_its_hash() -> None:
    """What `make env` installs from: the lock's pins again, each with the SHA-256 of its files."""
    lines = (ROOT / "requirements.hashes").read_text().replace("\\\n", "").splitlines()
    pins = {}
    for pin, *hashes in (line.split(" --hash=") for line in lines):
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64} *", one) for one in hashes), pin
        assert len(set(hashes)) == len(hashes), pin
        requirement = Requirement(pin.strip())
        pins[canonicalize_name(requirement.name)] = (requirement.specifier, str(requirement.marker))
    assert pins == {canonicalize_name(pin.name): (pin.specifier, str(pin.marker)) for pin in LOCK}
    assert "--require-hashes --no-deps -r requirements.hashes" in (ROOT / "Makefile").read_text()


def test_the_installed_versions_are_the_locked_ones() -> None:
    pins = [pin for pin in LOCK if pin.marker is None or pin.marker.evaluate()]
    assert {p.name: importlib.metadata.version(p.name) for p in pins} == {
        p.name: str(p.specifier)[2:] for p in pins
    }


def test_conda_resolves_to_the_lock() -> None:
    """The pip part is the lock itself; what conda brings beyond the interpreter must have its version."""
    stated = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in stated if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    conda = dict(entry.partition("=")[::2] for entry in stated if isinstance(entry, str))
    assert Requirement("python" + PROJECT["requires-python"]).specifier.contains(
        conda.pop("python")
    )
    for name in conda.keys() - {"pip", "make"}:
        assert conda[name] == LOCKED[canonicalize_name(CONDA_NAMES.get(name, name))], name


def test_every_third_party_import_is_a_declared_dependency() -> None:
    homes = importlib.metadata.packages_distributions()
    stated = [*DIRECT, *ADAPTERS]
    declared = {canonicalize_name(requirement.name) for requirement in stated} | {"medisyn-lib"}
    for path, tree in TREES.items():
        for top in {name.partition(".")[0] for name in imported(tree)} - sys.stdlib_module_names:
            assert declared & {canonicalize_name(home) for home in homes.get(top, [])}, (
                f"{name_of(path)} uses {top}"
            )


def test_files_of_the_library_are_short() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: n for name, n in lines.items() if n > 400} == {}


def test_an_installed_package_has_its_tables_templates_and_weights() -> None:
    """`make env` installs the checkout itself, so that nothing else would notice a file left out."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]["medisyn_lib"]
    packed = {path for pattern in patterns for path in LIBRARY.glob(pattern)}
    tracked = subprocess.run(
        ["git", "ls-files", "medisyn_lib"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    there = {ROOT / name for name in tracked.stdout.splitlines() if not name.endswith(".py")}
    assert there and there <= packed, sorted(there - packed)


def words_of(path: Path) -> str:
    """A page's text; of a Python file its comments, docstrings and names, on one line."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        text = re.sub(r"<!-- scorecard.*?end of scorecard -->", "", text, flags=re.DOTALL)
        return " ".join(text.split())
    comments, names = [], []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append(token.string.lstrip("# "))
        elif token.type == tokenize.NAME:
            names.append(token.string)
    docstrings = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    prose = " ".join(" ".join([*comments, *docstrings]).split())
    return f"{prose} Names: {', '.join(names)}"


def test_the_fields_own_terms_are_used() -> None:
    found = []
    for path in tracked_files():
        place = path.relative_to(ROOT)
        is_searched = place.parts[0] in ("medisyn_lib", "notebooks", "docs", "README.md")
        is_history = place.parts[:2] == ("docs", "experiments")
        if path.suffix not in (".py", ".md") or not is_searched or is_history:
            continue
        words = words_of(path)
        for term, better in PRIVATE_TERMS.items():
            for match in re.finditer(rf"(?<!\w)(?:{term})(?!\w)", words, flags=re.IGNORECASE):
                around = words[max(0, match.start() - 30) : match.end() + 30]
                found.append(f"{place}: ...{around}...: write {better}")
    assert found == []


def test_no_module_is_a_drawer() -> None:
    assert not {path.stem for path in MODULES} & {"utils", "util", "misc", "common", "helpers"}


def test_the_order_names_every_room_and_nothing_else() -> None:
    rooms = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in MODULES}
    assert rooms - {"__init__"} == set(ORDER) and len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    home = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
    if home == "__init__":
        assert imported(TREES[path]) <= {"os"}, "the package itself imports nothing that takes time"
        return
    allowed = ORDER[: ORDER.index(home) + 1]
    upward = set()
    for name in imported(TREES[path]):
        package, _, rest = name.partition(".")
        room = rest.split(".")[0]
        if package == "medisyn_lib" and room in ORDER and room not in allowed:
            upward.add(name)
    assert not upward, f"{home} lies below what it imports"


def test_our_modules_keep_their_names_where_they_are_imported() -> None:
    """`from medisyn_lib.data import sources as x` hides where a function comes from."""
    renamed = []
    scripts = [*MODULES, *sorted((ROOT / "notebooks").glob("*.py"))]
    for path in scripts:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("medisyn_lib"):
                renamed += [
                    f"{name_of(path)}: {a.name} as {a.asname}" for a in node.names if a.asname
                ]
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith("medisyn_lib") and alias.asname:
                        renamed.append(f"{name_of(path)}: {alias.name} as {alias.asname}")
    assert renamed == []


def test_no_modules_import_each_other() -> None:
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): tree for path, tree in TREES.items()
    }
    graph = {name: imported(tree) & names.keys() for name, tree in names.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_functions_are_documented_and_annotated(path: Path) -> None:
    assert ast.get_docstring(TREES[path]) or not TREES[path].body
    for function in public_functions(TREES[path]):
        where = f"{function.name}, line {function.lineno}"
        doc = ast.get_docstring(function, clean=False)
        assert doc, f"{where}: no docstring"
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        assert not bare and function.returns, f"{where}: {bare or 'return'} not annotated"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_fit_a_screen(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node, clean=False) or ""
            length = (node.end_lineno or 0) - node.lineno + 1 - len(doc.splitlines())
            where = f"{node.name}, line {node.lineno}"
            assert length <= 40, f"{where}: {length} lines without its docstring"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_unsafe_is_called(path: Path) -> None:
    assert not imported(TREES[path]) & {
        "pickle",
        "cPickle",
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "marshal",
    }
    for call in calls(TREES[path]):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        what = f"line {call.lineno}: {ast.unparse(call)[:80]}"
        if ast.unparse(call.func) == "torch.load":
            assert given.get("weights_only") == "True", what
        assert given.keys().isdisjoint(
            {"allow_pickle", "trust_remote_code", "shell"}
        ) or "True" not in (
            given.get("allow_pickle"),
            given.get("trust_remote_code"),
            given.get("shell"),
        ), what
        assert ast.unparse(call.func) not in GLOBAL_SEEDS, f"{what}: pass a generator instead"


@pytest.mark.parametrize("rooms", [LIGHT, ORDER], ids=["before-checks", "all"])
def test_importing_the_package_is_light(rooms: list[str]) -> None:
    chosen = [
        path for path in MODULES if path.relative_to(LIBRARY).parts[0].removesuffix(".py") in rooms
    ]
    names = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for p in chosen
    ]
    names = [name for name in names if not name.endswith("__main__")]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names}]; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(HEAVY) & set(ast.literal_eval(done.stdout)) == (
        {"torch"} if rooms is ORDER else set()
    )


def test_the_citation_names_both_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["version"] == PROJECT["version"]
    papers = {paper["identifiers"][0]["value"]: paper for paper in citation["references"]}
    assert set(papers) == {"arXiv:2405.09806", "arXiv:1710.01711"}
    assert papers["arXiv:1710.01711"]["doi"] == "10.1016/j.ophtha.2018.01.034"
    assert [len(paper["authors"]) for paper in papers.values()] == [18, 8]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "results/README.md"])
def test_pages_link_to_what_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r"src=\"([^\"]+)\"", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert (
        local and [link for link in local if not (ROOT / page).parent.joinpath(link).exists()] == []
    )


def test_no_file_names_a_machine() -> None:
    """Paths of one computer, and the address of any package index, would be wrong on every other."""
    place = re.compile(
        r"(?<![\w.:/])/(home|Users|root|work|opt)/\w|index[-_]url|find[-_]links|pypi\.org/simple"
    )
    found = []
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" not in data and path != Path(__file__):
            found += [
                f"{name_of(path)}: {match.group()}" for match in place.finditer(data.decode())
            ]
    assert found == []


def card_sections() -> dict[str, str]:
    """The data card's text of each modality, by modality key."""
    text = (ROOT / "data_cards" / "phantom.md").read_text()
    sections = re.split(r"^###? ", text, flags=re.MULTILINE)
    titled = {
        re.search(r"\(`(\w+)`, \w+\)$", section.splitlines()[0]): section for section in sections
    }
    return {title.group(1): section for title, section in titled.items() if title}


def names_in(section: str, item: str) -> list[str]:
    """The backticked names of one item (`Factors`, `Findings`) of a card's section."""
    found = re.search(rf"^- \*\*{item}\*\*:(.*?)^- ", section, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`(\w+)`", found.group(1)) if found else []


def test_the_phantom_card_is_valid_and_honest() -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(ROOT / "data_cards" / "phantom.md")
    assert card.data.license == "cc-by-4.0" and "text-to-image" in card.data.task_categories
    assert "drawn, not patients" in card.text and "Not for clinical use" in card.text


def test_the_phantom_card_lists_the_tables_findings() -> None:
    listed = {key: names_in(section, "Findings") for key, section in card_sections().items()}
    assert listed == {
        key: [finding.key for finding in row.findings] for key, row in MODALITIES.items()
    }


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_phantom_card_names_factors_that_are_drawn(modality: str) -> None:
    known: set[str] = set()
    for finding in MODALITIES[modality].findings:
        known |= draw(modality, seed=0, index=0, size=32, finding=finding.key)[1].keys()
    factors = names_in(card_sections()[modality], "Factors")
    assert factors and set(factors) <= known
