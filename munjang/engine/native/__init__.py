"""The native kernels, where the package munjang-native is installed: encoders and exact nearest neighbours on a CPU."""
