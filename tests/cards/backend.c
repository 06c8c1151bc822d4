/* backend: turns the cuda backend on the execution layer (tests/lib/cuda_host.h)
 * into libtokenfate-cuda.so of the made-up machine: as many cards as it has. */
#include "tests/cards/cards.h"
#include "tests/lib/cuda_host_control.h"

int cards_cublas(void); /* of cublas.c */

static void __attribute__((constructor)) have_cards(void)
{
    int card[CARDS_MAX];
    cuda_host_machine.runtime = cards_cublas() * 1000;
    cuda_host_machine.driver = cards_number("CARDS_CUDA", CARDS_CUDA_VERSION);
    cuda_host_machine.devices = cards_visible(card);
    cuda_host_machine.memory = (size_t)CARDS_MEMORY_MIB << 20;
}
