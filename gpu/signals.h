/* signals: no thread of a trainer that computes runs a signal handler. oneDNN's generated fp32
 * loops use the stack pointer as a pointer to data (uxlfoundation/oneDNN, issue 4845, fixed in
 * 3.11): Linux would write a handler's frame into the heap. So all threads block signals, and the
 * thread that drives the job polls for pending interrupts between two steps. There is no handler
 * and no thread for signals. */
#ifndef TOKENFATE_SIGNALS_H
#define TOKENFATE_SIGNALS_H

/* Block signals in the calling thread and, by inheritance, in all threads that it creates later:
 * call it before OpenMP, oneDNN or a driver create any. A blocked signal stays pending and has no
 * effect, except for signals_interrupted. Not blocked are:
 * - faults (SIGSEGV, SIGABRT...), which a thread raises itself and which end the process;
 * - SIGQUIT and the signals of job control: their default action needs no frame;
 * - SIGPIPE, which a thread raises itself;
 * - SIGHUP and SIGXCPU where the caller of the program ignores them, as nohup does.
 * An exec would keep the mask, so call it after the program has executed itself. */
void signals_block(void);

/* 1 if SIGINT, SIGTERM, SIGHUP or SIGXCPU was pending, and take one; else 0. Never waits. Only
 * after signals_block. */
int signals_interrupted(void);

#endif
