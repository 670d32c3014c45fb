/*
 * Which addresses a URL that somebody else chose may not reach. Pure.
 *
 * IPv4: everything that IANA's special-purpose registry (RFC 6890 and its updates) does not call globally
 * reachable, and multicast. IPv6: only global unicast 2000::/3 is allowed, less what in it is reserved or
 * carries an IPv4 address (mapped, translated, 6to4, Teredo), which is judged by that address. A metadata
 * service (169.254.169.254, fd00:ec2::254) lives inside these ranges.
 */
#include "io/http.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct range4 {
    uint32_t first;
    int bits;
};

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static bool is_private4(uint32_t address)
{
    static const struct range4 ranges[] = {
        {IP4(0, 0, 0, 0), 8},       /* this network (RFC 791) */
        {IP4(10, 0, 0, 0), 8},      /* private (RFC 1918) */
        {IP4(100, 64, 0, 0), 10},   /* carrier-grade NAT (RFC 6598) */
        {IP4(127, 0, 0, 0), 8},     /* loopback */
        {IP4(169, 254, 0, 0), 16},  /* link-local (RFC 3927), metadata */
        {IP4(172, 16, 0, 0), 12},   /* private */
        {IP4(192, 0, 0, 0), 24},    /* protocol assignments (RFC 6890) */
        {IP4(192, 0, 2, 0), 24},    /* documentation (RFC 5737) */
        {IP4(192, 88, 99, 0), 24},  /* 6to4 relays, withdrawn (RFC 7526) */
        {IP4(192, 168, 0, 0), 16},  /* private */
        {IP4(198, 18, 0, 0), 15},   /* benchmarks (RFC 2544) */
        {IP4(198, 51, 100, 0), 24}, /* documentation */
        {IP4(203, 0, 113, 0), 24},  /* documentation */
        {IP4(224, 0, 0, 0), 4},     /* multicast */
        {IP4(240, 0, 0, 0), 4},     /* reserved, broadcast */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if ((address ^ ranges[i].first) >> (32 - ranges[i].bits) == 0)
            return true;
    return false;
}

static uint32_t ip4_at(const unsigned char *bytes)
{
    return IP4(bytes[0], bytes[1], bytes[2], bytes[3]);
}

static bool starts(const unsigned char *address, const unsigned char *prefix, size_t bytes)
{
    return memcmp(address, prefix, bytes) == 0;
}

static bool is_private6(const unsigned char *a)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const unsigned char translated[12] = {0x00, 0x64, 0xff, 0x9b}; /* 64:ff9b::/96, RFC 6052 */
    static const unsigned char six_to_four[2] = {0x20, 0x02}, teredo[4] = {0x20, 0x01, 0x00, 0x00};
    static const unsigned char assignments[2] = {0x20, 0x01}, documentation[4] = {0x20, 0x01, 0x0d, 0xb8};
    static const unsigned char documentation2[2] = {0x3f, 0xff}; /* 3fff::/20, RFC 9637 */
    if (starts(a, mapped, sizeof mapped) || starts(a, translated, sizeof translated))
        return is_private4(ip4_at(a + 12));
    if ((a[0] & 0xe0) != 0x20) /* outside 2000::/3: loopback, unique-local, link-local, multicast, … */
        return true;
    if (starts(a, six_to_four, sizeof six_to_four))
        return is_private4(ip4_at(a + 2));
    if (starts(a, teredo, sizeof teredo) || starts(a, documentation, sizeof documentation))
        return true;
    if (starts(a, assignments, sizeof assignments) && a[2] < 0x02) /* 2001::/23, protocol assignments */
        return true;
    return starts(a, documentation2, sizeof documentation2) && (a[2] & 0xf0) == 0;
}

bool http_address_is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return is_private4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        return is_private6(in.sin6_addr.s6_addr);
    }
    return true; /* a unix socket, or something new */
}
