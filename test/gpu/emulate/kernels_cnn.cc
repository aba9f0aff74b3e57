// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "kernels.cu"

#define KERNEL_OF_CNN(name, type) EMULATE(cnn_##name)
CNN_KERNELS(KERNEL_OF_CNN)
