/*
 * Tables and JSON on standard output. All is collected first and written once: a command that fails half-way
 * shows nothing. A new kind of value: a value in enum output_kind and a case in both writers below.
 */
#include "deploy/belfryctl/output.h"
#include "format/json.h"
#include "format/text.h"
#include <stdio.h>
#include <string.h>

enum { OUTPUT_BYTES_MAX = 64 << 20, OUTPUT_COLUMNS_MAX = 16, CELL_BYTES = 32 };

static enum result write_out(struct buf *out, struct error *error)
{
    enum result code = RESULT_OK;
    if (!buf_ok(out))
        code = error_set(error, RESULT_FAILED, "could not show the answer: it is too long");
    else if (fwrite(out->data, 1, out->bytes, stdout) != out->bytes || fflush(stdout) != 0)
        code = error_set(error, RESULT_FAILED, "could not write to standard output");
    buf_free(out);
    return code;
}

static void write_json_value(struct buf *out, const struct output_field *f)
{
    char time[TIME_TEXT_BYTES + 1];
    switch (f->kind) {
    case OUTPUT_TEXT:
        json_text_or_null(out, f->text);
        break;
    case OUTPUT_JSON:
        json_raw(out, str_is_set(f->text) ? f->text : STR("null"));
        break;
    case OUTPUT_INT:
        json_int(out, f->number);
        break;
    case OUTPUT_BOOL:
        json_bool(out, f->number != 0);
        break;
    case OUTPUT_TIME:
        json_text(out, str_from(time_text(f->number, time)));
        break;
    }
}

/* The value as people read it; scratch holds what is not text already. */
static struct str cell_text(const struct output_field *f, char scratch[CELL_BYTES])
{
    switch (f->kind) {
    case OUTPUT_INT:
        snprintf(scratch, CELL_BYTES, "%lld", (long long)f->number);
        return str_from(scratch);
    case OUTPUT_BOOL:
        return str_from(f->number ? "yes" : "no");
    case OUTPUT_TIME:
        return str_from(time_text(f->number, scratch));
    case OUTPUT_TEXT:
    case OUTPUT_JSON:
        break;
    }
    return str_is_set(f->text) ? f->text : STR("-");
}

static void pad(struct buf *out, size_t columns)
{
    for (size_t i = 0; i < columns; i++)
        buf_add_char(out, ' ');
}

enum result output_object(struct ctl *ctl, const struct output_field *fields, int count, struct error *error)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    size_t width = 0;
    for (int i = 0; i < count; i++)
        width = strlen(fields[i].name) > width ? strlen(fields[i].name) : width;
    if (ctl->json)
        json_open(&out, '{');
    for (int i = 0; i < count; i++) {
        if (ctl->json) {
            json_key(&out, fields[i].name);
            write_json_value(&out, &fields[i]);
            continue;
        }
        char scratch[CELL_BYTES];
        buf_add_text(&out, fields[i].name);
        pad(&out, width - strlen(fields[i].name) + 2);
        buf_add_str(&out, cell_text(&fields[i], scratch));
        buf_add_char(&out, '\n');
    }
    if (ctl->json) {
        json_close(&out, '}');
        buf_add_char(&out, '\n');
    }
    return write_out(&out, error);
}

struct output_field output_field(const struct output_column *column, const struct db_result *rows, int row,
                                 int i)
{
    struct output_field f = {.name = column->name, .kind = column->kind};
    if (db_is_null(rows, row, i))
        f.kind = OUTPUT_TEXT; /* null in JSON, a dash for people */
    else if (f.kind == OUTPUT_TEXT || f.kind == OUTPUT_JSON)
        f.text = db_text(rows, row, i);
    else
        f.number = f.kind == OUTPUT_BOOL ? db_bool(rows, row, i) : db_int(rows, row, i);
    return f;
}

void output_write_rows(struct buf *out, const struct output_column *columns, int count,
                       const struct db_result *rows)
{
    json_open(out, '[');
    for (int row = 0; row < db_rows(rows); row++) {
        json_open(out, '{');
        for (int i = 0; i < count; i++) {
            struct output_field f = output_field(&columns[i], rows, row, i);
            json_key(out, f.name);
            write_json_value(out, &f);
        }
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void write_json_list(struct buf *out, const char *name, const struct output_column *columns, int count,
                            const struct db_result *rows)
{
    json_open(out, '{');
    json_key(out, name);
    output_write_rows(out, columns, count, rows);
    json_close(out, '}');
    buf_add_char(out, '\n');
}

static size_t column_width(const struct output_column *column, int i, const struct db_result *rows)
{
    size_t width = strlen(column->name);
    char scratch[CELL_BYTES];
    for (int row = 0; row < db_rows(rows); row++) {
        struct output_field f = output_field(column, rows, row, i);
        size_t cell = str_utf8_length(cell_text(&f, scratch));
        width = cell > width ? cell : width;
    }
    return width;
}

static void write_table(struct buf *out, const struct output_column *columns, int count,
                        const struct db_result *rows)
{
    size_t widths[OUTPUT_COLUMNS_MAX];
    for (int i = 0; i < count; i++) {
        widths[i] = column_width(&columns[i], i, rows);
        buf_add_text(out, columns[i].name);
        if (i + 1 < count)
            pad(out, widths[i] - strlen(columns[i].name) + 2);
    }
    buf_add_char(out, '\n');
    for (int row = 0; row < db_rows(rows); row++) {
        for (int i = 0; i < count; i++) {
            char scratch[CELL_BYTES];
            struct output_field f = output_field(&columns[i], rows, row, i);
            struct str cell = cell_text(&f, scratch);
            buf_add_str(out, cell);
            if (i + 1 < count)
                pad(out, widths[i] - str_utf8_length(cell) + 2);
        }
        buf_add_char(out, '\n');
    }
}

enum result output_list(struct ctl *ctl, const char *name, const struct output_column *columns, int count,
                        const struct db_result *rows, struct error *error)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    if (count > OUTPUT_COLUMNS_MAX)
        return error_set(error, RESULT_FAILED, "cannot show %d columns", count);
    if (ctl->json)
        write_json_list(&out, name, columns, count, rows);
    else
        write_table(&out, columns, count, rows);
    return write_out(&out, error);
}
