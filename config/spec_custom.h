/* spec_custom: the kind of the field /groups/custom, a list of groups that the user names.
 * Internal to the spec*.c files. Pure functions, any thread.
 *
 * Invariant: no two groups of a spec have the same name, built-in groups included. */
#ifndef TOKENFATE_SPEC_CUSTOM_H
#define TOKENFATE_SPEC_CUSTOM_H

#include "config/spec_kind.h"

extern const struct spec_kind spec_custom_kind;

#endif
