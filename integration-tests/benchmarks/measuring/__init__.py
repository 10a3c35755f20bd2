"""How the benchmarks measure: loops in turn in one process, one thread, CPU time, medians with their spread."""
