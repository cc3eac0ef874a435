#define FD_CLONE baseline
#include "cpu/clone.h"
