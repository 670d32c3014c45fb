/*
 * RFC 3339 times, from and to microseconds since 1970. Days are counted by hand in the proleptic Gregorian
 * calendar: gmtime() and timegm() take locks, and the write side is on the path of every answer.
 */
#include "text.h"
#include <string.h>

static const int64_t day_s = 86400;
static const int64_t last_us = INT64_C(253402300799999999); /* 9999-12-31T23:59:59.999999Z */

/* Days since 1970-01-01. Years are taken to begin in March, which puts the leap day at the end. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400, year_of_era = y % 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + 719468, era = z / 146097, day_of_era = z % 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153; /* 0 is March */
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

static char *put(char *to, int value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        to[i] = (char)('0' + value % 10);
    return to + digits;
}

char *time_text(int64_t unix_us, char out[TIME_TEXT_BYTES + 1])
{
    int64_t us = unix_us < 0 ? 0 : unix_us > last_us ? last_us : unix_us;
    int64_t seconds = us / 1000000;
    int of_day = (int)(seconds % day_s), year, month, day;
    date_from_days(seconds / day_s, &year, &month, &day);
    memcpy(out, "0000-00-00T00:00:00.000Z", TIME_TEXT_BYTES + 1);
    put(out, year, 4);
    put(out + 5, month, 2);
    put(out + 8, day, 2);
    put(out + 11, of_day / 3600, 2);
    put(out + 14, of_day / 60 % 60, 2);
    put(out + 17, of_day % 60, 2);
    put(out + 20, (int)(us / 1000 % 1000), 3);
    return out;
}

/* What is left to read; ok turns false at the first character that does not fit. */
struct reader {
    struct str rest;
    bool ok;
};

static int64_t read_number(struct reader *r, size_t digits, int64_t least, int64_t most)
{
    long long value = 0;
    if (!r->ok || r->rest.bytes < digits ||
        !str_to_int((struct str){r->rest.data, digits}, least, most, &value)) {
        r->ok = false;
        return least;
    }
    r->rest.data += digits;
    r->rest.bytes -= digits;
    return value;
}

/* Reads one character of a set of at most two. */
static char read_either(struct reader *r, char a, char b)
{
    if (!r->ok || r->rest.bytes == 0 || (r->rest.data[0] != a && r->rest.data[0] != b)) {
        r->ok = false;
        return '\0';
    }
    r->rest.bytes--;
    return *r->rest.data++;
}

/* ".123456789" as microseconds; finer digits are dropped. */
static int64_t read_fraction(struct reader *r)
{
    if (!r->ok || r->rest.bytes == 0 || r->rest.data[0] != '.')
        return 0;
    int64_t us = 0, unit = 100000;
    read_either(r, '.', '.');
    do {
        us += read_number(r, 1, 0, 9) * unit;
        unit /= 10;
    } while (r->ok && r->rest.bytes > 0 && r->rest.data[0] >= '0' && r->rest.data[0] <= '9');
    return us;
}

/* "Z" or "+09:00", in seconds east of UTC. */
static int64_t read_offset(struct reader *r)
{
    if (r->ok && r->rest.bytes == 1) {
        read_either(r, 'Z', 'z');
        return 0;
    }
    int64_t sign = read_either(r, '+', '-') == '-' ? -1 : 1;
    int64_t hours = read_number(r, 2, 0, 23);
    read_either(r, ':', ':');
    return sign * (hours * 3600 + read_number(r, 2, 0, 59) * 60);
}

static int64_t read_date(struct reader *r)
{
    static const unsigned char month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year = read_number(r, 4, 1969, 9999); /* 1969: with an offset the time may still be of 1970 */
    read_either(r, '-', '-');
    int64_t month = read_number(r, 2, 1, 12);
    read_either(r, '-', '-');
    int64_t day = read_number(r, 2, 1, month_days[month - 1]);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month == 2 && day == 29 && !leap)
        r->ok = false;
    return days_from_date(year, month, day);
}

bool time_parse(struct str s, int64_t *unix_us)
{
    struct reader r = {s, true};
    int64_t seconds = read_date(&r) * day_s;
    read_either(&r, 'T', 't');
    seconds += read_number(&r, 2, 0, 23) * 3600;
    read_either(&r, ':', ':');
    seconds += read_number(&r, 2, 0, 59) * 60;
    read_either(&r, ':', ':');
    int64_t second = read_number(&r, 2, 0, 60);
    seconds += second == 60 ? 59 : second;
    int64_t fraction = read_fraction(&r);
    seconds -= read_offset(&r);
    if (!r.ok || r.rest.bytes != 0 || seconds < 0 || seconds > last_us / 1000000)
        return false;
    if (second == 60 && seconds % day_s != day_s - 1)
        return false; /* leap seconds end a day of UTC */
    *unix_us = seconds * 1000000 + fraction;
    return true;
}
