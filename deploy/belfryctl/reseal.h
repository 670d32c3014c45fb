#ifndef BELFRY_BELFRYCTL_RESEAL_H
#define BELFRY_BELFRYCTL_RESEAL_H
#include "deploy/belfryctl/ctl.h"

/* Encrypts under the ring's current key what is under another one, 200 rows a transaction; shows how many of
 * each kind. A value changed meanwhile is left as it is: who changed it used a current key. RESULT_FAILED if
 * some values could not be opened; the others are done. */
enum result reseal_run(struct ctl *ctl, struct error *error) MUST_CHECK;

#endif
