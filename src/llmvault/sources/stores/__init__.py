"""What drivers of stores share: a process for the engine, samples, copies of files, comparisons."""
