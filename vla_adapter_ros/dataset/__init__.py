"""LeRobot data sets on disk: read, written, checked and changed.

Modules are imported by name: PyAV and pyarrow are loaded only where they are needed.
"""
