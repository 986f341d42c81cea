"""All stand-in classes by name; a class without a behavior of its own only keeps its properties."""

from panel_bed import manifest, standins_ctk, standins_mrml, standins_segments, standins_views
from panel_bed.standin import Standin, make

BEHAVIORS = {
    **standins_ctk.BEHAVIORS,
    **standins_mrml.BEHAVIORS,
    **standins_segments.BEHAVIORS,
    **standins_views.BEHAVIORS,
}
CLASSES = {name: make(name, BEHAVIORS.get(name, Standin)) for name in manifest.DATA["slicer"]}
