#define FD_CLONE baseline
#define FD_VECTOR_BYTES 16
#include "cpu/clone.h"
