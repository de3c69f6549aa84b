"""Compiled kernels. Private: nothing here is part of the public interface."""
