#ifndef BELFRY_BELFRYCTL_MIGRATIONS_H
#define BELFRY_BELFRYCTL_MIGRATIONS_H
/* The SQL files of this release, made into constants by the build (sql/generate migrations). */

struct migration {
    const char *name; /* relative to sql/: "migrations/0001_core.sql", "roles.sql" */
    const char *sql;
};

/* In the order of their names; ends with a name of NULL. */
extern const struct migration migrations_all[];

#endif
