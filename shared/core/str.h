#ifndef BELFRY_CORE_STR_H
#define BELFRY_CORE_STR_H
/*
 * A view of bytes that somebody else owns: not terminated by NUL, never freed through the view.
 * data may be NULL only when bytes is 0; "absent" and "empty" are told apart by str_is_set().
 */
#include <stdbool.h>
#include <stddef.h>

struct str {
    const char *data;
    size_t bytes;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).bytes, ((s).data ? (s).data : "")

struct str str_from(const char *terminated); /* NULL gives STR_NONE */
bool str_is_set(struct str s);               /* data != NULL */
bool str_equal(struct str a, struct str b);
bool str_equal_nocase(struct str a, struct str b); /* ASCII only */
bool str_is(struct str a, const char *terminated);
bool str_starts(struct str s, const char *prefix);
struct str str_trim(struct str s); /* spaces and tabs at both ends */
/* Cuts s at the first separator: returns what is before it and leaves what follows in *rest (STR_NONE if
 * there was no separator). rest may be the address of s itself. */
struct str str_cut(struct str s, char separator, struct str *rest);
/* Digits only, no sign, no space, within [least, most]; false otherwise. */
bool str_to_int(struct str s, long long least, long long most, long long *value);
/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms) without NUL. */
bool str_is_utf8(struct str s);
/* Bytes of the UTF-8 character that s begins with (a NUL is one); 0 if s is empty or begins with anything
 * else. */
size_t str_utf8_first(struct str s);
/* Number of code points of valid UTF-8. */
size_t str_utf8_length(struct str s);
/* The longest prefix of at most bytes_max bytes that ends on a character boundary. */
struct str str_utf8_cut(struct str s, size_t bytes_max);
/* s less a last character of which only the first bytes are there, as snprintf() leaves it. */
struct str str_utf8_whole(struct str s);

#endif
