"""Intervals, paired tests, corrections for selection and calibration: pure functions over NumPy and SciPy.

No function reads or writes a file. Every random draw takes an explicit generator. Shapes of arrays are in their
names: ``n`` rows, ``s`` seeds, ``k`` trials, ``c`` classes, ``d`` draws, ``g`` groups of equal rows.
"""
