/* Moved: fields are validated in shared/format, for the scheduler too. */
#include "format/field.h"
