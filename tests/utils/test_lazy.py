"""Names that are imported on first use."""

import sys

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one lazy name and one lazy module, each of which counts its imports."""
    home = tmp_path / "lazy_house"
    home.mkdir()
    (home / "__init__.py").write_text(
        "from sktransfer.utils._lazy import lazy_names\n"
        "own = 1\n"
        "__getattr__, __dir__ = lazy_names(__name__, {'thing': '_file', 'broken': '_file', 'room': ''})\n"
    )
    (home / "_file.py").write_text("thing = object()\n")
    (home / "room.py").write_text("name = 'room'\n")
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_house

    yield lazy_house
    for name in [name for name in sys.modules if name.split(".")[0] == "lazy_house"]:
        del sys.modules[name]


def test_nothing_is_imported_before_it_is_asked_for(package):
    assert not {"lazy_house._file", "lazy_house.room"} & set(sys.modules)
    assert package.room.name == "room"
    assert "lazy_house._file" not in sys.modules


def test_the_same_object_is_given_again_without_asking_again(package):
    thing = package.thing
    assert vars(package)["thing"] is thing is package.thing


def test_from_import(package):
    from lazy_house import room, thing

    assert (thing, room) == (package.thing, sys.modules["lazy_house.room"])


@pytest.mark.parametrize("name", ["nothing", "_file", "broken"])
def test_other_names_are_missing_as_in_any_module(name, package):
    assert not hasattr(package, name)


def test_message_names_package_and_name(package):
    with pytest.raises(AttributeError, match=r"^module 'lazy_house' has no attribute 'nothing'$"):
        package.nothing  # noqa: B018


def test_dir_lists_what_is_loaded_and_what_is_not(package):
    assert {"own", "thing", "room"} <= set(dir(package))
    assert dir(package) == sorted(dir(package))
