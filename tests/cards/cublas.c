/* cublas: libcublasLt.so.99 of the made-up machine (cards.h), of a version that no real
 * one has: its name, one symbol for which the backend needs it, and what it sees of
 * the environment when it is loaded, variables by which the real one computes other
 * bits. */
#include <stdio.h>
#include <stdlib.h>

int cards_cublas(void);

static void __attribute__((constructor)) look(void)
{
    static const char *const names[] = {"CUBLASLT_HEURISTICS_LUT_FILE",
                                        "CUBLAS_EMULATE_SINGLE_PRECISION",
                                        "CUBLAS_EMULATION_STRATEGY",
                                        "NVIDIA_TF32_OVERRIDE",
                                        "CUBLAS_EMULATE_DOUBLE_PRECISION",
                                        "CUBLAS_FP32_EMULATED_BF16X9_MATH",
                                        "CUBLAS_FIXEDPOINT_EMULATION_MANTISSA_BIT_COUNT"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]))
            fprintf(stderr, "cuBLASLt sees %s\n", names[i]);
}

int cards_cublas(void)
{
    return 13;
}
