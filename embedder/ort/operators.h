#ifndef RADSTREAM_OPERATORS_H
#define RADSTREAM_OPERATORS_H

#include "onnxruntime_c_api.h"

typedef struct operators operators;

// operators_open makes the domain of the operators for the library at path, which is open already.
// On failure it returns 0, and why in *message, to be freed.
operators *operators_open(const char *path, int kernel, char **message);

// operators_add lets sessions with these options use them; returns why not, to be freed, or 0.
char *operators_add(operators *o, OrtSessionOptions *options);

// operators_close frees them, after all sessions.
void operators_close(operators *o);

#endif
