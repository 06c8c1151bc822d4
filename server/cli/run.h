/* run: the command `tokenfate run SPEC [--json] [--out DIR]`: one experiment without a server
 * and without a database. It prepares the text, starts a trainer, shows its progress on stderr
 * and prints the closing table (or, with --json, one epoch record per line) on stdout. main.c
 * calls it on the main thread. */
#ifndef TOKENFATE_RUN_H
#define TOKENFATE_RUN_H

#include "config/settings.h"

/* argv[0..argc): the words after `run`: SPEC ("-" reads stdin), --json, --out DIR (keep
 * checkpoints and model there), and options of settings, in any order. Returns the exit code:
 * 0, 1 failed or cancelled, 2 usage. */
int run_command(const struct settings *settings, int argc, char **argv);

#endif
