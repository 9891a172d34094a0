// Everything for the GPU as one translation unit: one fatbin, one NVRTC program.
#include "pgha.cu"
#include "crop.cu"
#include "peaks.cu"
#include "pool.cu"
#include "scan.cu"
