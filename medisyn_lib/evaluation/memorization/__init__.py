"""Does a generator copy its training images? Detectors of copies, tests of whole sets, and positive controls."""
