/* Mail messages: structure, encodings, and that nothing a value holds can change them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/providers/mime.h"
#include <string.h>

static const struct mime_message sample = {
    .from_name = {"Shop", 4},
    .from_email = {"notify@example.com", 18},
    .to_email = {"jane@example.org", 16},
    .subject = {"Hello", 5},
    .message_id = {"1.1@example.com", 15},
    .boundary = {"b1", 2},
    .date_us = INT64_C(1795000000123456),
    .text = {"One\nTwo", 7},
    .html = {"<p>One</p>", 10},
};

static char *write(const struct mime_message *message)
{
    static char text[65536];
    struct buf out = BUF_INIT(65535);
    mime_write(&out, message);
    assert_true(buf_ok(&out));
    memcpy(text, out.data, out.bytes);
    text[out.bytes] = '\0';
    buf_free(&out);
    return text;
}

static void a_message_is_whole(void **state)
{
    (void)state;
    assert_string_equal(write(&sample), "From: \"Shop\"\r\n <notify@example.com>\r\n"
                                        "To: <jane@example.org>\r\n"
                                        "Subject: Hello\r\n"
                                        "Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n"
                                        "Message-ID: <1.1@example.com>\r\n"
                                        "Auto-Submitted: auto-generated\r\n"
                                        "MIME-Version: 1.0\r\n"
                                        "Content-Type: multipart/alternative;\r\n boundary=\"=_b1\"\r\n"
                                        "\r\n"
                                        "--=_b1\r\n"
                                        "Content-Type: text/plain; charset=utf-8\r\n"
                                        "Content-Transfer-Encoding: quoted-printable\r\n"
                                        "\r\n"
                                        "One\r\nTwo\r\n"
                                        "--=_b1\r\n"
                                        "Content-Type: text/html; charset=utf-8\r\n"
                                        "Content-Transfer-Encoding: quoted-printable\r\n"
                                        "\r\n"
                                        "<p>One</p>\r\n"
                                        "--=_b1--\r\n");
}

static void check_header(const char *value, const char *expected)
{
    struct buf out = BUF_INIT(4096);
    mime_header_text(&out, "Subject", str_from(value));
    assert_string_equal(buf_cstr(&out), expected);
    buf_free(&out);
}

static void headers_are_encoded_words(void **state)
{
    (void)state;
    check_header("plain, with punctuation: ok?", "Subject: plain, with punctuation: ok?\r\n");
    check_header("h\xc3\xa9", "Subject: =?UTF-8?B?aMOp?=\r\n");
    check_header("=?UTF-8?B?eA==?=",
                 "Subject: =?UTF-8?B?PT9VVEYtOD9CP2VBPT0/PQ==?=\r\n");          /* said literally */
    check_header("a\r\nBcc: x@y", "Subject: =?UTF-8?B?YSAgQmNjOiB4QHk=?=\r\n"); /* controls are spaces */
}

/* No line is too long, no character is split over two words. */
static void long_headers_are_folded_between_characters(void **state)
{
    (void)state;
    char value[1025] = "";
    struct buf out = BUF_INIT(8192);
    for (int i = 0; i < 256; i++)
        memcpy(value + 4 * i, "\xf0\x9f\x98\x80", 5);
    mime_header_text(&out, "Subject", str_from(value));
    struct str rest = buf_str(&out);
    while (rest.bytes) {
        struct str line = str_cut(rest, '\n', &rest);
        assert_true(line.bytes <= 77); /* with its CR */
        struct str word = {strstr(line.data, "?B?") + 3, 0};
        while (word.data[word.bytes] != '?')
            word.bytes++;
        /* whole characters of four bytes, in base64 of 4 for 3: their number is whole */
        size_t padding =
            (size_t)(word.data[word.bytes - 1] == '=') + (size_t)(word.data[word.bytes - 2] == '=');
        assert_int_equal((word.bytes / 4 * 3 - padding) % 4, 0);
    }
    buf_free(&out);
}

static void names_and_addresses_add_nothing(void **state)
{
    (void)state;
    struct mime_message evil = sample;
    evil.to_name = str_from("Eve\" <x@y>, \"\\");
    evil.to_email = str_from("jane@example.org>\r\nBcc: <t@example.com");
    evil.from_name = str_from("A\nB");
    char *text = write(&evil);
    assert_non_null(
        strstr(text, "To: \"Eve\\\" <x@y>, \\\"\\\\\"\r\n <jane@example.orgBcc:t@example.com>\r\n"));
    assert_null(strstr(text, "\nBcc"));
    assert_non_null(strstr(text, "From: =?UTF-8?B?QSBC?=\r\n"));
}

static void check_printable(const char *text, const char *expected)
{
    struct buf out = BUF_INIT(4096);
    mime_quoted_printable(&out, str_from(text));
    assert_string_equal(buf_cstr(&out), expected);
    buf_free(&out);
}

static void quoted_printable(void **state)
{
    (void)state;
    check_printable("a=b", "a=3Db\r\n");
    check_printable("h\xc3\xa9\n", "h=C3=A9\r\n");
    check_printable("trailing \nnext", "trailing=20\r\nnext\r\n");
    check_printable("one\r\ntwo\r\n", "one\r\ntwo\r\n");
    check_printable("lone\rcr", "lone=0Dcr\r\n");
    check_printable("\t.", "=09.\r\n");
    check_printable(
        "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
        "123456789012345678901234567890123456789012345678901234567890123456789012345=\r\n67890\r\n");
}

static void a_boundary_cannot_occur_in_a_part(void **state)
{
    (void)state;
    struct mime_message message = sample;
    message.text = str_from("--=_b1--\r\n--=_b1\r\nContent-Type: text/html\r\n\r\nevil");
    char *text = write(&message);
    int count = 0;
    for (char *at = strstr(text, "--=_b1"); at; at = strstr(at + 1, "--=_b1"))
        count++;
    assert_int_equal(count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_whole),
        cmocka_unit_test(headers_are_encoded_words),
        cmocka_unit_test(long_headers_are_folded_between_characters),
        cmocka_unit_test(names_and_addresses_add_nothing),
        cmocka_unit_test(quoted_printable),
        cmocka_unit_test(a_boundary_cannot_occur_in_a_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
