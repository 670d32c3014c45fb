#ifndef BELFRY_CORE_ERROR_H
#define BELFRY_CORE_ERROR_H
/*
 * Results and their sentences.
 *
 * A function that can fail returns an enum result and, when it is not RESULT_OK, leaves one human sentence in
 * the caller's struct error: what could not be done and why. "could not" may work later, "cannot" never will.
 * The sentence holds no secret and no personal data, so it may be logged and shown.
 */

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text_index, first_index) __attribute__((format(printf, text_index, first_index)))

enum result {
    RESULT_OK,
    RESULT_INVALID,   /* the input is wrong; repeating it changes nothing */
    RESULT_MISSING,   /* the thing named does not exist (for this caller) */
    RESULT_CONFLICT,  /* exists already, or is in a state that forbids the change */
    RESULT_FORBIDDEN, /* the caller may not */
    RESULT_BUSY,      /* locked, throttled or full: try again after a moment */
    RESULT_OFFLINE,   /* a server we need (database, Redis, peer) cannot be reached now */
    RESULT_FAILED     /* anything else, a defect or an exhausted machine included */
};

enum { ERROR_TEXT_BYTES = 320 };

struct error {
    enum result code;
    char sqlstate[6]; /* of a database error, "" otherwise */
    char text[ERROR_TEXT_BYTES];
};

/* Fills e (which may be NULL) and returns code, so that `return error_set(e, …)` reads well. Text is cut at a
 * character boundary if it is too long. */
enum result error_set(struct error *e, enum result code, const char *format, ...) PRINTF_LIKE(3, 4);

/* A word for logs: "ok", "invalid", … Never NULL. */
const char *result_name(enum result code);

#endif
