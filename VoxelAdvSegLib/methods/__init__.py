"""The methods by name; a new one is a new file and one line here."""

# name: module and class, made with (config, network, classes, steps, labeled_cases)
METHODS = {
    "voxel_adversarial": ("VoxelAdvSegLib.methods.voxel_adversarial", "VoxelAdversarial"),
    "supervised": ("VoxelAdvSegLib.methods.supervised", "Supervised"),
}
