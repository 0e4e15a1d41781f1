"""The house stands on its layers: imports point down, and heavy packages stay behind their doors."""

import ast
import functools
import re
import sys
from pathlib import Path

import pytest

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


def _modules(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


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
    found = []
    for node in ast.walk(tree):
        modules = _modules(node)
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


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_imports_point_down(file):
    room = _room(_name(file))
    assert room in LAYER_OF, f"{_name(file)} is in no room of LAYERS"
    assert upward_imports(_tree(file), room) == []


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
    for node in ast.walk(tree):
        names = [getattr(node, field, None) for field in ("name", "id", "arg", "attr")]
        for name in names:
            if isinstance(name, str) and PICTURE_WORDS.search(STANDING.sub("", name)):
                yield name


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_only_rooms_of_pictures_say_picture(file):
    if not _name(file).startswith(OF_PICTURES):
        assert {(_name(file), name) for name in picture_names(_tree(file))} <= PICTURE_NAMES


def test_names_of_pictures_are_found():
    tree = ast.parse("def crop_pixels(image_size, picture): ...")
    assert set(picture_names(tree)) == {"crop_pixels", "picture"}


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_imports_are_absolute_and_name_the_room(file):
    room = _room(_name(file))
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
        for module in _modules(node):
            parts = module.split(".")
            private = parts[0] == "sktransfer" and len(parts) > 2 and parts[1] not in (room, "utils")
            # utils has no public front: its files are what the other rooms share.
            assert not private, f"line {node.lineno}: {module} is private to its room"


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_torch_stays_behind_its_doors(file):
    if _name(file).startswith(TORCH_DOORS):
        return
    heavy = {"torch", "torchvision", "timm", "skorch", "pandas", "polars", "matplotlib"}
    for node in _on_import(_tree(file)):
        for module in _modules(node):
            assert module.split(".")[0] not in heavy, f"line {node.lineno}: {module}"


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_one_place_for_each_engine(file):
    for node in ast.walk(_tree(file)):
        for module in _modules(node):
            place = ONLY_IN.get(module.split(".")[0])
            assert place is None or _name(file).startswith(place), f"line {node.lineno}: {module} belongs in {place}"


def _written_lines(tree):
    """Count the lines of signatures and docstrings that tools/shared_parameters.py keeps."""
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            parts = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            parts += node.body[:1] if ast.get_docstring(node) else []
            count += sum(part.end_lineno - part.lineno + 1 for part in parts)
    return count


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_house_rules(file):
    text = file.read_text(encoding="utf-8")
    written = _written_lines(_tree(file)) if _name(file).startswith(("deep_adaptation/", "fine_tuning/")) else 0
    assert text.count("\n") - written < MAX_LINES
    # The package knows nothing of the machine it was written on.
    assert "../shared" not in text
    assert "SKTRANSFER_DATA" not in text
    for node in ast.walk(_tree(file)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: assert"
        called = node.func if isinstance(node, ast.Call) else None
        assert not (isinstance(called, ast.Name) and called.id == "print"), f"line {node.lineno}: print"


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_files_are_private_behind_their_room(file):
    parts = _name(file).split("/")
    if len(parts) == 1:
        assert parts[0] in ("__init__.py", "base.py", "exceptions.py")
    else:
        assert len(parts) == 2
        assert parts[1].startswith("_")


@pytest.mark.parametrize("room", sorted({_room(_name(file)) for file in FILES} - {"utils", "__init__"}))
def test_rooms_say_what_is_public(room):
    front = PACKAGE / room / "__init__.py"
    front = front if front.exists() else PACKAGE / f"{room}.py"
    targets = [target for node in _tree(front).body if isinstance(node, ast.Assign) for target in node.targets]
    names = {name.id for target in targets for name in getattr(target, "elts", [target])}
    assert "__all__" in names


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
