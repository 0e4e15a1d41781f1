"""The house stands on its layers: imports point down, and heavy packages stay behind their doors."""

import ast
import functools
import re
import sys
from pathlib import Path

import sktransfer

PACKAGE = Path(__file__).resolve().parents[1] / "sktransfer"
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = (
    {"exceptions", "utils"},
    {"domains", "modalities"},
    {"base", "backbones", "metrics", "datasets"},
    {"_frozen"},
    {"_nets"},
    {
        *("feature_extraction", "few_labels", "fine_tuning", "adaptation", "weighting"),
        *("deep_adaptation", "dense", "picture_adaptation", "parameter_transfer"),
        "self_supervised",
    },
    {"model_selection", "inspection"},
    {"__init__"},
)
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}

# Files that may import torch when they are imported; everything else must do without.
TORCH_DOORS = (
    *("utils/_batch.py", "utils/_device", "utils/_random.py", "modalities/_augmented.py", "modalities/_loaders.py"),
    "modalities/_audio_changes.py",
    *("backbones/", "_frozen/", "_nets/", "fine_tuning/", "deep_adaptation/", "picture_adaptation/"),
)
# The one place of each.
ONLY_IN = {"timm": "backbones/_timm.py", "skorch": "_nets/", "huggingface_hub": "backbones/_hub.py"}
MAX_LINES = 450


def _name(file):
    return file.relative_to(PACKAGE).as_posix()


def _room(name):
    return name.split("/")[0].removesuffix(".py")


@functools.cache
def _tree(file):
    return ast.parse(file.read_text(encoding="utf-8"))


@functools.cache
def _nodes(file):
    return tuple(ast.walk(_tree(file)))


def _modules(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _imports(file):
    """Give the import statements of a file, each with the modules that it names."""
    return [(node, _modules(node)) for node in _nodes(file) if isinstance(node, ast.Import | ast.ImportFrom)]


def _violations(rule):
    """Give what a rule finds in the files, of those in which it finds something."""
    found = {_name(file): list(rule(file)) for file in FILES}
    return {name: lines for name, lines in found.items() if lines}


def _on_import(node):
    """Give the nodes that run when the file is imported: no function bodies, nothing under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _on_import(child)


def upward_imports(tree, room):
    """Rooms of the same or of a higher layer that a file of `room` imports, in functions too."""
    return _upward([(node, _modules(node)) for node in ast.walk(tree)], room)


def _upward(imports, room):
    found = []
    for node, modules in imports:
        if modules == ["sktransfer"]:
            modules = [f"sktransfer.{alias.name}" for alias in getattr(node, "names", ())]
        for module in modules:
            root, _, rest = module.partition(".")
            target = rest.split(".")[0]
            if root != "sktransfer" or target == room:
                continue
            # The rooms of layer 0 are neighbours, and errors are everybody's.
            if target != "exceptions" and LAYER_OF.get(target, len(LAYERS)) >= LAYER_OF[room]:
                found.append(f"line {node.lineno}: {module}")
    return found


def test_imports_point_down():
    assert {_room(_name(file)) for file in FILES} <= set(LAYER_OF), "a file is in no room of LAYERS"
    assert _violations(lambda file: _upward(_imports(file), _room(_name(file)))) == {}


def test_upward_imports_are_found():
    tree = ast.parse("def f():\n    from sktransfer.fine_tuning import X\nfrom sktransfer import metrics\n")
    assert upward_imports(tree, "modalities") == ["line 3: sktransfer.metrics", "line 2: sktransfer.fine_tuning"]
    assert upward_imports(tree, "inspection") == []


# Where pictures are meant: everywhere else a sample is of any kind.
OF_PICTURES = (
    *("modalities/", "dense/", "picture_adaptation/", "inspection/_grad_cam", "inspection/_segmentation_display"),
    *("datasets/", "exceptions.py"),
    *("backbones/_image.py", "backbones/_timm.py", "backbones/_channels.py", "few_labels/_thumbnails.py"),
)
PICTURE_WORDS = re.compile("picture|image|pixel", re.IGNORECASE)
STANDING = re.compile("image_size|image_shape|InvalidImage\\w+|ImageBackbone|make_image_domains|picture_adaptation")
PICTURE_NAMES = {
    ("backbones/_backbone.py", "image_modality"),  # a network of timm's is one for pictures unless it says otherwise
    ("utils/_linalg.py", "image"),  # of a linear map
}


def picture_names(tree):
    """Names of a file that say picture, image or pixel, but for those that are public and stay."""
    return _say_picture(ast.walk(tree))


def _say_picture(nodes):
    for node in nodes:
        names = [getattr(node, field, None) for field in ("name", "id", "arg", "attr")]
        for name in names:
            if isinstance(name, str) and PICTURE_WORDS.search(STANDING.sub("", name)):
                yield name


def test_only_rooms_of_pictures_say_picture():
    others = [file for file in FILES if not _name(file).startswith(OF_PICTURES)]
    assert {(_name(file), name) for file in others for name in _say_picture(_nodes(file))} <= PICTURE_NAMES


def test_names_of_pictures_are_found():
    tree = ast.parse("def crop_pixels(image_size, picture): ...")
    assert set(picture_names(tree)) == {"crop_pixels", "picture"}


def _relative_or_private(file):
    room = _room(_name(file))
    for node, modules in _imports(file):
        if getattr(node, "level", 0) != 0:
            yield f"line {node.lineno}: relative import"
        for module in modules:
            parts = module.split(".")
            # utils has no public front: its files are what the other rooms share.
            if parts[0] == "sktransfer" and len(parts) > 2 and parts[1] not in (room, "utils"):
                yield f"line {node.lineno}: {module} is private to its room"


def test_imports_are_absolute_and_name_the_room():
    assert _violations(_relative_or_private) == {}


def _heavy_imports(file):
    if _name(file).startswith(TORCH_DOORS):
        return
    heavy = {"torch", "torchvision", "timm", "skorch", "pandas", "polars", "matplotlib"}
    for node in _on_import(_tree(file)):
        for module in _modules(node):
            if module.split(".")[0] in heavy:
                yield f"line {node.lineno}: {module}"


def test_torch_stays_behind_its_doors():
    assert _violations(_heavy_imports) == {}


def _misplaced_engines(file):
    for node, modules in _imports(file):
        for module in modules:
            place = ONLY_IN.get(module.split(".")[0])
            if place is not None and not _name(file).startswith(place):
                yield f"line {node.lineno}: {module} belongs in {place}"


def test_one_place_for_each_engine():
    assert _violations(_misplaced_engines) == {}


def _written_lines(file):
    """Count the lines of signatures and docstrings that tools/shared_parameters.py keeps."""
    count = 0
    for node in _nodes(file):
        if isinstance(node, ast.ClassDef):
            parts = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            parts += node.body[:1] if ast.get_docstring(node) else []
            count += sum(part.end_lineno - part.lineno + 1 for part in parts)
    return count


def _against_the_house(file):
    text = file.read_text(encoding="utf-8")
    written = _written_lines(file) if _name(file).startswith(("deep_adaptation/", "fine_tuning/")) else 0
    if text.count("\n") - written >= MAX_LINES:
        yield f"{text.count(chr(10)) - written} lines"
    # The package knows nothing of the machine it was written on.
    yield from (word for word in ("../shared", "SKTRANSFER_DATA") if word in text)
    for node in _nodes(file):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert"
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id == "print":
            yield f"line {node.lineno}: print"


def test_house_rules():
    assert _violations(_against_the_house) == {}


def _place_of_file(file):
    parts = _name(file).split("/")
    is_front = len(parts) == 1 and parts[0] in ("__init__.py", "base.py", "exceptions.py")
    if not is_front and not (len(parts) == 2 and parts[1].startswith("_")):
        yield "is not private behind a room"


def test_files_are_private_behind_their_room():
    assert _violations(_place_of_file) == {}


def test_violations_are_found(tmp_path, monkeypatch):
    """One file that breaks every rule."""
    (tmp_path / "metrics").mkdir()
    file = tmp_path / "metrics" / "open.py"
    file.write_text(
        "import timm, torch\nfrom . import x\nfrom sktransfer.base._y import z\nassert print('../shared')\n"
    )
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    monkeypatch.setitem(globals(), "FILES", [file])
    assert _violations(_relative_or_private) == {
        "metrics/open.py": ["line 2: relative import", "line 3: sktransfer.base._y is private to its room"]
    }
    assert _violations(_heavy_imports) == {"metrics/open.py": ["line 1: timm", "line 1: torch"]}
    assert _violations(_misplaced_engines) == {"metrics/open.py": ["line 1: timm belongs in backbones/_timm.py"]}
    assert _violations(_against_the_house) == {"metrics/open.py": ["../shared", "line 4: assert", "line 4: print"]}
    assert _violations(_place_of_file) == {"metrics/open.py": ["is not private behind a room"]}
    monkeypatch.setitem(globals(), "MAX_LINES", 4)
    assert _violations(_against_the_house)["metrics/open.py"][0] == "4 lines"


def test_rooms_say_what_is_public():
    silent = []
    for room in sorted({_room(_name(file)) for file in FILES} - {"utils", "__init__"}):
        front = PACKAGE / room / "__init__.py"
        front = front if front.exists() else PACKAGE / f"{room}.py"
        targets = [target for node in _tree(front).body if isinstance(node, ast.Assign) for target in node.targets]
        if "__all__" not in {name.id for target in targets for name in getattr(target, "elts", [target])}:
            silent.append(room)
    assert silent == []


def test_nothing_but_the_standard_library_shadows_a_room():
    assert not set(LAYER_OF) & set(sys.stdlib_module_names)


def test_no_class_has_more_than_four_ancestors_of_ours():
    many = {}
    for name in sktransfer.__all__:
        found = getattr(sktransfer, name)
        if isinstance(found, type):
            ours = [kind.__name__ for kind in found.__mro__[1:] if kind.__module__.startswith("sktransfer")]
            if len(ours) > 4:
                many[name] = ours
    assert many == {}
