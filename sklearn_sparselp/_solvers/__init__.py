"""Outer loops: working sets, stopping rules, certificates, warnings."""
