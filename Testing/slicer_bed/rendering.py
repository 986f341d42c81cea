"""Slice and 3-D views without a screen, built from Slicer's own displayable managers."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


class _View:
    def __init__(self, application, factory_class, managers, size):
        self.size = size
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)  # the same pixels on every run
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        factory = getattr(slicer, factory_class).GetInstance()
        factory.SetMRMLApplicationLogic(application.logic)
        for manager in managers:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.group.Initialize(factory, self.renderer)

    def pixels(self, path=None):
        """RGB (rows from the top, columns, 3) uint8; also as a PNG where a path is given."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        if path is not None:
            writer = vtk.vtkPNGWriter()
            writer.SetInputConnection(grab.GetOutputPort())
            writer.SetFileName(str(path))
            writer.Write()
        image = grab.GetOutput()
        columns, rows, _ = image.GetDimensions()
        return np.flipud(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1))

    def close(self):
        self.group.SetMRMLDisplayableNode(None)
        self.window.Finalize()


class SliceView(_View):
    """One slice view with its slice and composite node, as the layout of Slicer makes it."""

    def __init__(self, application, name="Red", orientation="Axial", size=(500, 400)):
        managers = ["vtkMRMLSegmentationsDisplayableManager2D", "vtkMRMLScalarBarDisplayableManager",
                    "vtkMRMLColorLegendDisplayableManager"]  # fmt: skip
        super().__init__(application, "vtkMRMLSliceViewDisplayableManagerFactory", managers, size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(application.scene, True)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application.logic)
        self.logic.SetMRMLScene(application.scene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        slice_logics = vtk.vtkCollection()  # where the legend looks for the view's volumes
        slice_logics.AddItem(self.logic)
        application.logic.SetSliceLogics(slice_logics)
        self.group.SetMRMLDisplayableNode(self.node)
        mapper = vtk.vtkImageMapper()  # in the place of CTK's light box, which the wheel lacks
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(mapper)
        self.actor.GetProperty().SetDisplayLocationToBackground()
        images = vtk.vtkRenderer()  # a layer of its own: in one layer segments are blended with black
        images.AddViewProp(self.actor)
        self.window.SetNumberOfLayers(2)
        images.SetLayer(0)
        self.renderer.SetLayer(1)
        self.window.AddRenderer(images)
        self.logic.ResizeSliceNode(*size)

    @property
    def composite(self):
        return self.logic.GetSliceCompositeNode()

    def fit(self):
        self.logic.FitSliceToBackground()

    def pixels(self, path=None):
        self.logic.UpdatePipeline()
        self.actor.GetMapper().SetInputConnection(self.logic.GetImageDataConnection())
        return super().pixels(path)


class ThreeDView(_View):
    def __init__(self, application, size=(400, 400)):
        managers = ["vtkMRMLSegmentationsDisplayableManager3D"]
        super().__init__(application, "vtkMRMLThreeDViewDisplayableManagerFactory", managers, size)
        self.node = application.scene.AddNewNodeByClass("vtkMRMLViewNode")
        self.group.SetMRMLDisplayableNode(self.node)
        self.renderer.SetBackground(0.75, 0.75, 0.9)

    def fit(self):
        for _ in range(2):  # the bounds are known after the first picture
            self.renderer.ResetCamera()
            self.window.Render()
