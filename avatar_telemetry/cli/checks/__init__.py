"""The checks of the doctor, one module for each area; their results are findings."""
