#ifndef BELFRY_HANDLERS_CGI_H
#define BELFRY_HANDLERS_CGI_H
/* Plain CGI (RFC 3875): one request from the environment and standard input, answered on standard output. */
#include "handlers/app.h"

/* Returns the exit status. */
int cgi_serve(struct app *app, char **environment);

#endif
