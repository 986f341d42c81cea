"""A Slicer-like process on the slicer-core wheel: the real scene, nodes, storage and logics, no Qt.

Only what the application adds is stood in for: the scene's place (slicer.mrmlScene), the modules' logics,
reading and writing of files by type, and the few shared files that the wheel lacks.
"""

import json
import os
import tempfile
import types
from pathlib import Path

import slicer
import vtk
from vtk.util.misc import calldata_type

SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/"
LOGICS = {  # name of the module -> class of its logic, and its name in the application's table
    "segmentations": ("vtkSlicerSegmentationsModuleLogic", "Segmentations"),
    "volumes": ("vtkSlicerVolumesLogic", "Volumes"),
    "colors": ("vtkSlicerColorLogic", "Colors"),
    "subjecthierarchy": ("vtkSlicerSubjectHierarchyModuleLogic", "SubjectHierarchy"),
    "transforms": ("vtkSlicerTransformLogic", "Transforms"),
    "tables": ("vtkSlicerTablesLogic", "Tables"),
    "plots": ("vtkSlicerPlotsLogic", "Plots"),
    "texts": ("vtkSlicerTextsLogic", "Texts"),
    "models": ("vtkSlicerModelsLogic", "Models"),
    "markups": ("vtkSlicerMarkupsLogic", "Markups"),
    "sequences": ("vtkSlicerSequencesLogic", "Sequences"),
    "terminologies": ("vtkSlicerTerminologiesModuleLogic", "Terminologies"),
    "units": ("vtkSlicerUnitsLogic", "Units"),
    "cropvolume": ("vtkSlicerCropVolumeLogic", "CropVolume"),
}
SHOWN = (  # classes with a place in the subject hierarchy
    "vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode",
    "vtkMRMLTransformNode", "vtkMRMLTextNode", "vtkMRMLModelNode", "vtkMRMLMarkupsNode",
)  # fmt: skip
KINDS = (
    ((".mrb", ".mrml"), "SceneFile"),
    ((".seg.nrrd", ".seg.nhdr"), "SegmentationFile"),
    ((".tsv", ".csv"), "TableFile"),
    ((".h5", ".tfm"), "TransformFile"),
    ((".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha"), "VolumeFile"),
)


class Files:
    """The part of qSlicerCoreIOManager that slicer.util.load* and save* call."""

    def __init__(self, application):
        self.application = application

    def fileType(self, name):  # noqa: N802
        return next((kind for endings, kind in KINDS if name.lower().endswith(endings)), "TextFile")

    def loadNodes(self, kind, properties, loaded, messages):  # noqa: N802
        path, logics, scene = properties["fileName"], self.application.logics, self.application.scene
        name = properties.get("name") or Path(path).name.split(".")[0]
        if kind == "SceneFile":
            if path.endswith(".mrb"):
                return bool(scene.ReadFromMRB(path, False, messages))
            scene.SetURL(path)
            return bool(scene.Import(messages))
        if kind == "VolumeFile":
            node = logics["volumes"].AddArchetypeVolume(path, name, 1 if properties.get("labelmap") else 0)
        elif kind == "SegmentationFile":
            node = logics["segmentations"].LoadSegmentationFromFile(path, False, name)
        elif kind == "TransformFile":
            node = logics["transforms"].AddTransform(path, scene, messages)
        elif kind == "TableFile":
            node = logics["tables"].AddTable(path, name, True)
        else:
            raise NotImplementedError(kind)
        if node is not None:
            loaded.AddItem(node)
        return node is not None

    def fileWriterFileType(self, node):  # noqa: N802
        return node.GetClassName()

    def saveNodes(self, kind, properties, messages):  # noqa: N802
        path, scene = properties["fileName"], self.application.scene
        if kind == "SceneFile":
            write = scene.WriteToMRB if path.endswith(".mrb") else None
            return bool(write(path, None, messages)) if write else bool(scene.Commit(path, messages))
        node = scene.GetNodeByID(properties["nodeID"])
        storage = node.GetStorageNode()
        if storage is None:
            node.AddDefaultStorageNode(path)
            storage = node.GetStorageNode()
        storage.SetFileName(path)
        return bool(storage.WriteData(node))


class Hierarchy:
    """What the application's plug-in logic does: items of the subject hierarchy come and go with the nodes."""

    def __init__(self, scene):
        self.scene = scene
        self.tags = [
            scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, self.added),
            scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self.removed),
        ]

    @calldata_type(vtk.VTK_OBJECT)
    def added(self, scene, _event, node):
        if scene.IsImporting() or node.GetHideFromEditors() or not any(map(node.IsA, SHOWN)):
            return
        hierarchy = scene.GetSubjectHierarchyNode()
        if hierarchy.GetItemByDataNode(node) == hierarchy.GetInvalidItemID():
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @calldata_type(vtk.VTK_OBJECT)
    def removed(self, scene, _event, node):
        if scene is None or scene.IsClosing() or not any(map(node.IsA, SHOWN)):
            return
        hierarchy = scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node)
        if item != hierarchy.GetInvalidItemID():
            hierarchy.RemoveItem(item, False, False)

    def close(self):
        for tag in self.tags:
            self.scene.RemoveObserver(tag)


class Environment(dict):
    """QProcessEnvironment as slicer.util reads it."""

    value = dict.get


class Application:
    """Takes the place of Slicer's application for `slicer` and `slicer.util`; folder: its temporary files."""

    def __init__(self, folder=None):
        self.folder = Path(folder or tempfile.mkdtemp(prefix="slicer-bed-"))
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetMRMLScene(self.scene)
        self.logic.SetTemporaryPath(str(self.folder))
        share = self._shared_files()
        self.logic.SetHomeDirectory(str(share.parent))
        self.logic.SetShareDirectory(share.name)  # relative to home
        self._read_bundles()
        self.logics = {name: self._module_logic(name, share) for name in LOGICS}
        self.logic.SetColorLogic(self.logics["colors"])
        self.hierarchy = Hierarchy(self.scene)
        slicer.modules = types.SimpleNamespace(
            **{name: types.SimpleNamespace(logic=lambda name=name: self.logics[name]) for name in LOGICS}
        )
        files = Files(self)
        slicer.app = types.SimpleNamespace(
            coreIOManager=lambda: files,
            applicationLogic=lambda: self.logic,
            mrmlScene=lambda: self.scene,
            testingEnabled=lambda: True,
            temporaryPath=str(self.folder),
            processEvents=lambda *arguments: None,
            startupEnvironment=lambda: Environment(os.environ),
            applicationName="Slicer",
        )

    def close(self):
        self.scene.Clear(0)
        self.hierarchy.close()

    def _module_logic(self, name, share):
        class_name, registered = LOGICS[name]
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(self.logic)
        if name == "terminologies":
            logic.SetModuleShareDirectory(str(share / "terminologies"))
        self.logic.SetModuleLogic(registered, logic)
        logic.SetMRMLScene(self.scene)
        return logic

    def _read_bundles(self):
        """Without these two a .mrb cannot be read; without the mark the cache warns."""
        cache_folder = self.folder / "cache"
        cache_folder.mkdir(parents=True)
        (cache_folder / ".slicer-cache").touch()
        cache = slicer.vtkCacheManager()
        cache.SetRemoteCacheDirectory(str(cache_folder))
        data_io = slicer.vtkDataIOManager()
        data_io.SetCacheManager(cache)
        self.scene.SetCacheManager(cache)
        self.scene.SetDataIOManager(data_io)

    def _shared_files(self):
        """The wheel has no share folder; these few files keep the log free of errors."""
        share = self.folder / "share"
        colors, terms = share / "ColorFiles", share / "terminologies"
        colors.mkdir(parents=True)
        terms.mkdir()
        generic = "0 background 0 0 0 0\n1 tissue 128 174 128 255\n2 bone 241 214 145 255\n"
        (colors / "GenericColors.txt").write_text(generic)
        liver = {**_code("Liver", "10200004"), "recommendedDisplayRGBValue": [221, 130, 101]}
        category = {**_code("Anatomical Structure", "123037004"), "showAnatomy": "false", "Type": [liver]}
        for name in ("SlicerGeneralAnatomy", "DICOM-Master"):
            context = {
                "@schema": SCHEMA + "segment-context-schema.json#",
                "SegmentationCodes": {"Category": [category]},
                "SegmentationCategoryTypeContextName": name,
            }
            (terms / f"SegmentationCategoryTypeModifier-{name}.term.json").write_text(json.dumps(context))
        regions = {
            "@schema": SCHEMA + "anatomic-context-schema.json#",
            "AnatomicContextName": "mini",
            "AnatomicCodes": {"AnatomicRegion": [_code("Liver", "10200004")]},
        }
        (terms / "AnatomicRegionAndModifier-DICOM-Master.term.json").write_text(json.dumps(regions))
        return share


def _code(meaning, value):
    return {"CodeMeaning": meaning, "CodingSchemeDesignator": "SCT", "CodeValue": value}
