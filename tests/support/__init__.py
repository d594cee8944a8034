"""What tests and benchmarks share; it imports neither.

Data made for tests, independent implementations that results are held against, processes that a test starts
or harms, and judges of what was read, computed or drawn: the first line of each file says which.
"""
