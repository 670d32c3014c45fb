#ifndef BELFRY_HANDLERS_FASTCGI_H
#define BELFRY_HANDLERS_FASTCGI_H
/*
 * The FastCGI front: some threads that accept, read and answer through the route table. The listening socket
 * is either inherited as descriptor 0 (then a successor can accept before this process has left) or made
 * here.
 */
#include "core/error.h"
#include "handlers/app.h"
#include "handlers/fastcgi_park.h"

struct fastcgi;
/* Listens and starts config->threads threads. */
enum result fastcgi_start(struct app *app, struct fastcgi **front, struct error *error) MUST_CHECK;
/* Idle threads take no more requests: a successor on the same socket gets them. Does not wait. */
void fastcgi_quit(struct fastcgi *front);
/* No more requests are taken (of a socket of our own, those that wait in its backlog are still answered);
 * returns when all threads are done. */
void fastcgi_stop(struct fastcgi *front);

/* Takes a call's connection (call->connection) out of the front end, after reading its input to the end. May
 * be called again: it is the same connection then. Unless response->taken is set, the front end answers on
 * it. */
struct fastcgi_connection fastcgi_detach(void *connection);

#endif
