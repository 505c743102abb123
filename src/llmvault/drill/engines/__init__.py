"""Inference engines that a drill starts, behind one interface."""
