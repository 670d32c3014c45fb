#ifndef BELFRY_HANDLERS_TIME_ZONE_H
#define BELFRY_HANDLERS_TIME_ZONE_H
/* Does a time zone exist? The system's own copy of the IANA database is asked first; what it does not have,
 * the database server may. */
#include "handlers/route.h"
#include <stdbool.h>

/* name passed check_time_zone(). */
enum result time_zone_exists(struct call *call, struct str name, bool *exists) MUST_CHECK;

#endif
