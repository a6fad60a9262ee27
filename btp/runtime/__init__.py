"""What any program needs of its machine: files, threads, the processor, CUDA graphs."""
