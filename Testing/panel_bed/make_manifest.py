"""Cuts Slicer's API table down to the classes that the panel and its tests need.

    python Testing/panel_bed/make_manifest.py slicer_qt_api.json

The full table (names and signatures read from the sources of Slicer 5.10, 5.12 and 5.13) is not part of this
repository; its cut `manifest.json` is. Add a class to `CLASSES` and run the command again when the panel needs one.

Every member is its text, or `[text, releases]` when not all of the releases have it. Members of Qt's own classes
are `[text, "qt5"]` or `[text, "qt6"]` when only one major version has them.
"""

import json
import sys
from pathlib import Path

MANIFEST = Path(__file__).with_name("manifest.json")
LARGEST = 400_000  # bytes

CLASSES = """
    ctkCheckBox ctkCheckableComboBox ctkCheckablePushButton ctkCollapsibleButton ctkCollapsibleGroupBox
    ctkColorPickerButton ctkComboBox ctkDirectoryButton ctkDoubleSlider ctkDoubleSpinBox ctkErrorLogAbstractModel
    ctkExpandButton ctkFittedTextBrowser ctkMenuButton ctkMessageBox ctkPathLineEdit ctkRangeWidget ctkSearchBox
    ctkSliderWidget
    qMRMLCheckableNodeComboBox qMRMLCollapsibleButton qMRMLColorPickerWidget qMRMLColorTableComboBox
    qMRMLLayoutManager qMRMLNodeComboBox qMRMLPlotView qMRMLPlotViewControllerWidget qMRMLPlotWidget
    qMRMLSegmentEditorWidget qMRMLSegmentSelectorWidget qMRMLSegmentsTableView qMRMLSliceControllerWidget
    qMRMLSliceView qMRMLSliceWidget qMRMLSliderWidget qMRMLSortFilterProxyModel qMRMLSpinBox
    qMRMLSubjectHierarchyComboBox qMRMLSubjectHierarchyTreeView qMRMLTableView qMRMLThreeDView qMRMLThreeDWidget
    qMRMLWidget
    qSlicerAbstractCoreModule qSlicerAbstractModule qSlicerApplication qSlicerCoreIOManager qSlicerIOManager
    qSlicerLayoutManager qSlicerLoadableModule qSlicerModuleFactoryManager qSlicerModuleManager
    qSlicerScriptedLoadableModule qSlicerScriptedLoadableModuleWidget qSlicerSegmentEditorAbstractEffect
    qSlicerSegmentEditorEffectFactory qSlicerSubjectHierarchyPluginHandler qSlicerWidget
""".split()
QT_LEFT_OUT = """
    QAbstractSocket QBuffer QCalendarWidget QCommonStyle QDial QFocusFrame QFontComboBox QFontDialog QGraphicsItem
    QGraphicsObject QGraphicsScene QGraphicsView QItemDelegate QLCDNumber QLocalServer QLocalSocket QMovie
    QNetworkAccessManager QPropertyAnimation QProxyStyle QRubberBand QSaveFile QSignalMapper QSizeGrip
    QSocketNotifier QSplashScreen QSystemTrayIcon QTcpServer QTcpSocket QThread QTimeLine QTranslator QUndoStack
    QWindow QWizard QWizardPage
""".split()
PYTHON = """
    slicer.util slicer.packaging slicer.i18n slicer.ScriptedLoadableModule slicer.parameterNodeWrapper.default
    slicer.parameterNodeWrapper.guiConnectors slicer.parameterNodeWrapper.parameterPack
    slicer.parameterNodeWrapper.types slicer.parameterNodeWrapper.validators slicer.parameterNodeWrapper.wrapper
    slicer.testing sitkUtils
""".split()


def texts(entries, key, mark="v"):
    """Each entry's text; with the releases (or the Qt version) beside it where these are not all."""
    out = []
    for entry in entries or ():
        text = entry if isinstance(entry, str) else entry[key]
        limit = None if isinstance(entry, str) else entry.get(mark)
        if isinstance(limit, list) and mark == "qt":
            limit = "qt" + limit[0]
        out.append([text, limit] if limit else text)
    return out


def properties(entries, mark="v"):
    """Name -> "type access", with "-" behind it when it is not for forms; and the releases where these are not all."""
    out = {}
    for entry in entries or ():
        text = f"{entry['type']} {entry['access']}" + ("-" if entry.get("designable") is False else "")
        limit = entry.get(mark)
        if isinstance(limit, list) and mark == "qt":
            limit = "qt" + limit[0]
        out.setdefault(entry["name"], [text, limit] if limit else text)
    return out


def slicer_class(entry):
    short = {
        "python": entry["python"],
        "bases": entry.get("bases", []),
        "qt_base": entry.get("qt_base"),
        "properties": properties(entry["properties"]),
        "signals": texts(entry["signals"], "sig"),
        "calls": [c for key in ("slots", "invokables", "decorated") for c in texts(entry.get(key), "sig")],
        "enums": entry.get("enums", {}),
    }
    short = {key: value for key, value in short.items() if value}
    for key in ("construct_from_python", "designer_plugin"):
        if not entry[key]:
            short[key] = False
    if entry.get("v"):
        short["v"] = entry["v"]
    return short


def qt_class(entry, parent):
    inherited = set(parent.get("ui_properties", ())) if parent else set()
    slots = {s if isinstance(s, str) else s["sig"] for s in entry["slots"]}
    names = texts(entry["methods"], "sig", "qt")
    known = {n if isinstance(n, str) else n[0] for n in names}
    names += sorted({slot.split("(")[0] for slot in slots} - known)
    short = {
        "base": entry["base"],
        "properties": properties(entry["properties"], "qt"),
        "signals": texts(entry["signals"], "sig", "qt"),
        "methods": names,
        "enums": {name: texts(values, "name", "qt") for name, values in entry["enums"].items()},
        "ui": sorted(set(entry.get("ui_properties", ())) - inherited),
    }
    return {key: value for key, value in short.items() if value}


def method_names(signatures):
    """Name -> releases (None: all) of C++ methods given by their signatures."""
    out = {}
    for entry in signatures:
        text, limit = (entry, None) if isinstance(entry, str) else (entry["sig"], entry.get("v"))
        name = text.split("(")[0].split()[-1].lstrip("*&")
        out[name] = None if name in out and out[name] is None else limit
    return [name if limit is None else [name, limit] for name, limit in sorted(out.items())]


def mrml_class(entry):
    short = {
        "bases": entry["bases"],
        "methods": method_names(entry["methods"]),
        "enums": sorted({v if isinstance(v, str) else v["name"] for vs in entry["enums"].values() for v in vs}),
    }
    if entry.get("v"):
        short["v"] = entry["v"]
    return short


def python_module(entry):
    functions = {}
    for name, one in entry["functions"].items():
        functions[name] = {"signatures": [one["signature"], *one.get("older_signatures", {}).values()]}
        if one.get("v"):
            functions[name]["v"] = one["v"]
    classes = {name: texts(one.get("methods", ()), "sig") for name, one in entry["classes"].items()}
    short = {"functions": functions, "classes": classes}
    if entry.get("v"):
        short["v"] = entry["v"]
    return short


def cut(table):
    """The part of the full table that `CLASSES` and `PYTHON` need, base classes included."""
    every = table["qt_classes"]
    missing = [name for name in CLASSES if name not in every]
    if missing:
        raise SystemExit(f"not in the table: {', '.join(missing)}")
    wanted = set(CLASSES)
    for name in CLASSES:
        wanted.update(base for base in every[name].get("chain", ()) if base in every)
    qt = table["qt_base_classes"]
    return {
        "releases": table["meta"]["releases"],
        "commits": table["meta"]["commits"],
        "slicer": {name: slicer_class(every[name]) for name in sorted(wanted)},
        "other_slicer_names": sorted(
            one["python"].split(".")[-1] for name, one in every.items() if name not in wanted and not one.get("v")
        ),
        "qt": {name: qt_class(one, qt.get(one["base"])) for name, one in qt.items() if name not in QT_LEFT_OUT},
        "mrml": {name: mrml_class(one) for name, one in table["mrml_classes"].items()},
        "vtk": {name: one["methods"] for name, one in table["vtk_core_methods"].items()},
        "python": {name: python_module(table["python"][name]) for name in PYTHON},
    }


def main(path):
    table = json.loads(Path(path).read_text(encoding="utf-8"))
    lines = []
    for section, content in cut(table).items():
        if isinstance(content, dict):
            body = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in content.items())
            lines.append(f'"{section}": {{\n{body}\n}}')
        else:
            lines.append(f'"{section}": {json.dumps(content, separators=(",", ":"))}')
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if len(text.encode()) > LARGEST:
        raise SystemExit(f"the cut has {len(text.encode())} bytes, at most {LARGEST} are wanted")
    MANIFEST.write_text(text, encoding="utf-8")
    print(f"{MANIFEST.name}: {len(text.encode())} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
