"""What is shipped: the build's lists against the tree, and the extension's metadata against itself."""

import json
import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOP = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
MODULE = REPOSITORY / "VoxelAdvSeg"
LIBRARY = REPOSITORY / "VoxelAdvSegLib"
ENTRY = json.loads((REPOSITORY / "Resources" / "VoxelAdvSeg.json").read_text(encoding="utf-8"))
# Keys of the schema of an Extensions Index entry, version 1.0.1; no other may stand there.
ENTRY_KEYS = {"$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier"}


def variables(text: str) -> dict[str, str]:
    """What set(NAME "value") gives, with ${NAME} filled in."""
    known: dict[str, str] = {}
    for name, value in re.findall(r'set\((\w+) "([^"]*)"\)', text):
        for other, meant in known.items():
            value = value.replace(f"${{{other}}}", meant)
        known[name] = value
    return known


def listed(text: str, name: str) -> set[str]:
    """Files of a list written as set(NAME a b c)."""
    found = re.search(rf"set\({name}\s+([^)]*)\)", text)
    assert found, f"no list {name}"
    return {word.removeprefix("${CMAKE_CURRENT_SOURCE_DIR}/") for word in found[1].split()}


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_modules_lists_are_its_files():
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    present = files(MODULE) - {"CMakeLists.txt"}
    assert listed(text, "MODULE_PYTHON_SCRIPTS") | listed(text, "MODULE_PYTHON_RESOURCES") == present
    assert "WITH_GENERIC_TESTS" in text


def test_no_file_beside_the_module_would_be_taken_for_another_module():
    assert [path.name for path in MODULE.glob("*.py")] == ["VoxelAdvSeg.py"]


def test_the_librarys_patterns_take_every_file():
    """The library is listed by patterns, so that no file can be forgotten: they must name every kind of file."""
    text = (LIBRARY / "CMakeLists.txt").read_text(encoding="utf-8")
    patterns = re.findall(r"CONFIGURE_DEPENDS ([^)]*)\)", text)
    kinds = {word for words in patterns for word in words.split()}
    left = {name for name in files(LIBRARY) if not any(Path(name).match(kind) for kind in kinds)}
    assert left == {"CMakeLists.txt"}
    assert "WITH_SUBDIR" in text


def test_every_folder_that_the_build_enters_is_there():
    for folder in re.findall(r"add_subdirectory\(([^)]+)\)", TOP):
        assert (REPOSITORY / folder / "CMakeLists.txt").is_file(), folder


def test_the_index_entry_agrees_with_the_build():
    about = variables(TOP)
    assert set(ENTRY) == ENTRY_KEYS
    assert ENTRY["build_dependencies"] == about["EXTENSION_DEPENDS"].split() == ["PyTorch"]
    assert ENTRY["scm_url"] == about["EXTENSION_HOMEPAGE"] and ENTRY["scm_url"].endswith("/SlicerVoxelAdvSeg")
    assert ENTRY["scm_revision"] == "main" and ENTRY["category"] == "Segmentation"
    assert re.search(r"project\((\w+)\)", TOP)[1] == "VoxelAdvSeg"  # type: ignore[index]


def test_pictures_of_the_extensions_page_are_in_the_repository():
    about = variables(TOP)
    addresses = [about["EXTENSION_ICONURL"], *about["EXTENSION_SCREENSHOTURLS"].split()]
    assert len(addresses) >= 2
    for address in addresses:
        path = REPOSITORY / address.removeprefix(about["EXTENSION_RAW"] + "/")
        assert path.is_file() and path.suffix == ".png" and "&" not in address


def test_the_icon_is_128_pixels_wide_and_its_drawing_is_whole():
    head = (MODULE / "Resources" / "Icons" / "VoxelAdvSeg.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", head[16:24]) == (128, 128)
    drawing = ET.parse(MODULE / "Resources" / "Icons" / "VoxelAdvSeg.svg").getroot()
    assert drawing.tag.endswith("svg") and len(drawing) > 0


@pytest.mark.parametrize("asked", ["3D Slicer", "voxel-wise adversarial", "LICENSE.txt", "not a medical device"])
def test_the_homepage_says_what_the_index_asks_for(asked: str):
    assert asked.lower() in (REPOSITORY / "README.md").read_text(encoding="utf-8").lower()


def test_the_description_is_for_people():
    description = variables(TOP)["EXTENSION_DESCRIPTION"]
    assert 40 < len(description) < 250 and description.count(".") <= 2 and "Nothing is sent" in description
