/*
 * The key ring: keys from outside the database for what is encrypted, found or recognised inside it.
 *
 * The file is read strictly (an unknown line, a key of another length or a file that others may read stops
 * the start) and only ever replaced whole: a new file is written beside it, synced and renamed over it.
 *
 *     enc:2 BASE64     current: seals
 *     enc:1 BASE64     still opens what it sealed
 *     index BASE64     blind indexes
 *     auth BASE64      app secrets, tickets
 *
 * Lines that begin with # and empty lines are ignored. Another purpose for a key: a field, a line in
 * find_key().
 */
#include "format/text.h"
#include "io/crypto.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    KEY_BYTES = 32,
    KEY_IDS = 256, /* an id is one byte; 0 is none */
    NONCE_BYTES = 12,
    TAG_BYTES = 16,
    FILE_BYTES_MAX = 32768, /* 255 keys of some 60 bytes */
    PATH_BYTES_MAX = 4096
};

struct keyring {
    int current;
    bool has[KEY_IDS];
    bool has_index, has_auth;
    unsigned char keys[KEY_IDS][KEY_BYTES];
    unsigned char index[KEY_BYTES], auth[KEY_BYTES];
    EVP_CIPHER *cipher;
};

void keyring_free(struct keyring *ring)
{
    if (!ring)
        return;
    EVP_CIPHER_free(ring->cipher);
    OPENSSL_cleanse(ring, sizeof *ring);
    free(ring);
}

/* ---- the file ---- */

static enum result read_file(const char *path, struct buf *text, struct error *error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, RESULT_MISSING, "could not open the key file %s: %s", path, strerror(errno));
    enum result code = RESULT_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        code = error_set(error, RESULT_INVALID, "cannot use the key file %s: it is no regular file", path);
    else if (st.st_mode & 077)
        code = error_set(error, RESULT_INVALID, "cannot use the key file %s: its mode must be 0600 or 0400",
                         path);
    char chunk[4096];
    for (ssize_t n; code == RESULT_OK && (n = read(fd, chunk, sizeof chunk)) != 0;) {
        if (n < 0)
            code =
                error_set(error, RESULT_FAILED, "could not read the key file %s: %s", path, strerror(errno));
        else
            buf_add(text, chunk, (size_t)n);
    }
    OPENSSL_cleanse(chunk, sizeof chunk);
    close(fd);
    if (code == RESULT_OK && !buf_ok(text))
        code = error_set(error, RESULT_INVALID, "cannot use the key file %s: it is too long", path);
    return code;
}

/* Where the key of this name belongs; NULL for an unknown or repeated name. */
static unsigned char *find_key(struct keyring *ring, struct str name)
{
    long long id;
    if (str_is(name, "index") && !ring->has_index) {
        ring->has_index = true;
        return ring->index;
    }
    if (str_is(name, "auth") && !ring->has_auth) {
        ring->has_auth = true;
        return ring->auth;
    }
    if (!str_starts(name, "enc:"))
        return NULL;
    struct str digits = {name.data + 4, name.bytes - 4};
    if (!str_to_int(digits, 1, KEY_IDS - 1, &id) || ring->has[id])
        return NULL;
    ring->has[id] = true;
    if (!ring->current)
        ring->current = (int)id;
    return ring->keys[id];
}

static bool parse_line(struct keyring *ring, struct str line)
{
    struct str rest, name = str_cut(line, ' ', &rest);
    unsigned char *key = find_key(ring, name);
    size_t bytes;
    return key && text_from_base64(rest, key, KEY_BYTES, &bytes) && bytes == KEY_BYTES;
}

static enum result parse(struct keyring *ring, struct str text, struct error *error)
{
    for (int number = 1; text.bytes; number++) {
        struct str line = str_cut(text, '\n', &text);
        if (line.bytes == 0 || line.data[0] == '#')
            continue;
        if (!parse_line(ring, line))
            return error_set(error, RESULT_INVALID,
                             "cannot use the key file: line %d is malformed or repeated", number);
    }
    if (!ring->current || !ring->has_index || !ring->has_auth)
        return error_set(error, RESULT_INVALID,
                         "cannot use the key file: it lacks an enc, index or auth key");
    return RESULT_OK;
}

static void wipe(struct buf *b)
{
    if (b->data)
        OPENSSL_cleanse(b->data, b->capacity);
    buf_free(b);
}

enum result keyring_load(const char *path, struct keyring **ring, struct error *error)
{
    struct buf text = BUF_INIT(FILE_BYTES_MAX);
    *ring = NULL;
    struct keyring *made = calloc(1, sizeof *made);
    if (!made)
        return error_set(error, RESULT_FAILED, "could not load the key file: no memory");
    made->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    enum result code = made->cipher
                           ? read_file(path, &text, error)
                           : error_set(error, RESULT_FAILED, "cannot encrypt: OpenSSL lacks AES-256-GCM");
    if (code == RESULT_OK)
        code = parse(made, buf_str(&text), error);
    wipe(&text);
    if (code == RESULT_OK)
        *ring = made;
    else
        keyring_free(made);
    return code;
}

static enum result add_key(struct buf *text, const char *name, struct error *error)
{
    unsigned char key[KEY_BYTES];
    enum result code = crypto_random(key, sizeof key, error);
    if (code != RESULT_OK)
        return code;
    buf_printf(text, "%s ", name);
    text_base64(text, key, sizeof key);
    buf_add_char(text, '\n');
    OPENSSL_cleanse(key, sizeof key);
    return buf_ok(text) ? RESULT_OK
                        : error_set(error, RESULT_FAILED, "could not write a key: the file is full");
}

static bool write_all(int fd, struct str text)
{
    for (size_t done = 0; done < text.bytes;) {
        ssize_t n = write(fd, text.data + done, text.bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return fsync(fd) == 0;
}

static void sync_directory(const char *path)
{
    char directory[PATH_BYTES_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!fsync(fd);
    close(fd);
}

/* owner: of the file that is replaced, NULL for a new one. */
static enum result write_new_file(const char *path, struct str text, const struct stat *owner,
                                  struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(error, errno == EEXIST ? RESULT_CONFLICT : RESULT_FAILED,
                         "could not create the key file %s: %s", path, strerror(errno));
    bool good = write_all(fd, text) && (!owner || fchown(fd, owner->st_uid, owner->st_gid) == 0);
    int saved = errno;
    good = close(fd) == 0 && good;
    if (good)
        return RESULT_OK;
    unlink(path);
    return error_set(error, RESULT_FAILED, "could not write the key file %s: %s", path, strerror(saved));
}

enum result keyring_create(const char *path, struct error *error)
{
    struct buf text = BUF_INIT(FILE_BYTES_MAX);
    enum result code = add_key(&text, "enc:1", error);
    if (code == RESULT_OK)
        code = add_key(&text, "index", error);
    if (code == RESULT_OK)
        code = add_key(&text, "auth", error);
    if (code == RESULT_OK)
        code = write_new_file(path, buf_str(&text), NULL, error);
    if (code == RESULT_OK)
        sync_directory(path);
    wipe(&text);
    return code;
}

static enum result replace_file(const char *path, struct str text, struct error *error)
{
    char beside[PATH_BYTES_MAX];
    struct stat st;
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside || stat(path, &st) != 0)
        return error_set(error, RESULT_FAILED, "could not replace the key file %s", path);
    enum result code = write_new_file(beside, text, &st, error);
    if (code != RESULT_OK)
        return code;
    if (rename(beside, path) != 0) {
        code =
            error_set(error, RESULT_FAILED, "could not replace the key file %s: %s", path, strerror(errno));
        unlink(beside);
        return code;
    }
    sync_directory(path);
    return RESULT_OK;
}

enum result keyring_rotate(const char *path, struct error *error)
{
    struct keyring *ring = NULL;
    struct buf old = BUF_INIT(FILE_BYTES_MAX), text = BUF_INIT(FILE_BYTES_MAX);
    char name[16];
    enum result code = keyring_load(path, &ring, error);
    if (!ring)
        return code;
    int id = KEY_IDS - 1;
    while (!ring->has[id])
        id--;
    if (++id == KEY_IDS)
        code = error_set(error, RESULT_FAILED, "cannot add a key: all %d ids are used", KEY_IDS - 1);
    keyring_free(ring);
    snprintf(name, sizeof name, "enc:%d", id);
    if (code == RESULT_OK)
        code = read_file(path, &old, error);
    if (code == RESULT_OK)
        code = add_key(&text, name, error);
    if (code == RESULT_OK) {
        buf_add_str(&text, buf_str(&old));
        code = buf_ok(&text) ? replace_file(path, buf_str(&text), error)
                             : error_set(error, RESULT_FAILED, "could not add a key: no memory");
    }
    wipe(&old);
    wipe(&text);
    return code;
}

int keyring_current(const struct keyring *ring)
{
    return ring->current;
}

/* ---- sealing ---- */

static const unsigned char *bytes_of(struct str s)
{
    return (const unsigned char *)(s.data ? s.data : "");
}

static bool seal(const struct keyring *ring, EVP_CIPHER_CTX *c, struct str context, struct str plain,
                 const unsigned char *nonce, unsigned char *sealed, unsigned char *tag)
{
    int n;
    return c && EVP_EncryptInit_ex2(c, ring->cipher, ring->keys[ring->current], nonce, NULL) == 1 &&
           EVP_EncryptUpdate(c, NULL, &n, bytes_of(context), (int)context.bytes) == 1 &&
           EVP_EncryptUpdate(c, sealed, &n, bytes_of(plain), (int)plain.bytes) == 1 &&
           EVP_EncryptFinal_ex(c, sealed + plain.bytes, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1;
}

enum result keyring_seal(const struct keyring *ring, struct str context, struct str plain, struct buf *out,
                         struct error *error)
{
    unsigned char nonce[NONCE_BYTES], tag[TAG_BYTES];
    if (plain.bytes > out->bytes_max)
        return error_set(error, RESULT_INVALID, "cannot encrypt: the value is too long");
    enum result code = crypto_random(nonce, sizeof nonce, error);
    if (code != RESULT_OK)
        return code;
    unsigned char *sealed = malloc(plain.bytes + 1);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (!sealed || !seal(ring, c, context, plain, nonce, sealed, tag)) {
        code = error_set(error, RESULT_FAILED, "could not encrypt a value");
    } else {
        buf_add_char(out, (char)ring->current);
        buf_add(out, nonce, sizeof nonce);
        buf_add(out, sealed, plain.bytes);
        buf_add(out, tag, sizeof tag);
        if (!buf_ok(out))
            code = error_set(error, RESULT_FAILED, "could not encrypt a value: no memory");
    }
    EVP_CIPHER_CTX_free(c);
    free(sealed);
    return code;
}

static bool unseal(const struct keyring *ring, EVP_CIPHER_CTX *c, struct str context, struct str sealed,
                   unsigned char *plain, size_t bytes)
{
    int n;
    const unsigned char *in = bytes_of(sealed), *body = in + 1 + NONCE_BYTES;
    unsigned char tag[TAG_BYTES];
    memcpy(tag, body + bytes, sizeof tag);
    return c && EVP_DecryptInit_ex2(c, ring->cipher, ring->keys[in[0]], in + 1, NULL) == 1 &&
           EVP_DecryptUpdate(c, NULL, &n, bytes_of(context), (int)context.bytes) == 1 &&
           EVP_DecryptUpdate(c, plain, &n, body, (int)bytes) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
           EVP_DecryptFinal_ex(c, plain + bytes, &n) == 1;
}

enum result keyring_open(const struct keyring *ring, struct str context, struct str sealed, struct buf *plain,
                         struct error *error)
{
    const size_t overhead = 1 + NONCE_BYTES + TAG_BYTES;
    enum result code = RESULT_OK;
    if (sealed.bytes < overhead || sealed.bytes > INT32_MAX)
        return error_set(error, RESULT_INVALID, "cannot decrypt: the value is no sealed one");
    if (!ring->has[bytes_of(sealed)[0]])
        return error_set(error, RESULT_MISSING, "cannot decrypt: the key file lacks key enc:%d",
                         bytes_of(sealed)[0]);
    size_t bytes = sealed.bytes - overhead;
    unsigned char *opened = malloc(bytes + 1);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (!opened || !unseal(ring, c, context, sealed, opened, bytes))
        code = error_set(error, RESULT_INVALID, "cannot decrypt: the value belongs elsewhere or was changed");
    else
        buf_add(plain, opened, bytes);
    if (code == RESULT_OK && !buf_ok(plain))
        code = error_set(error, RESULT_FAILED, "could not decrypt a value: it does not fit");
    EVP_CIPHER_CTX_free(c);
    if (opened)
        OPENSSL_cleanse(opened, bytes);
    free(opened);
    return code;
}

/* ---- recognising ---- */

/* Each part is hashed before they are joined, so that no two pairs of parts look the same. */
static void mac_parts(const unsigned char *key, struct str first, struct str second,
                      unsigned char out[SHA256_BYTES])
{
    unsigned char inner[2 * SHA256_BYTES];
    crypto_sha256(first, inner);
    crypto_sha256(second, inner + SHA256_BYTES);
    crypto_hmac_sha256((struct str){(const char *)key, KEY_BYTES},
                       (struct str){(const char *)inner, sizeof inner}, out);
}

void keyring_blind_index(const struct keyring *ring, int tenant, struct str kind, struct str value,
                         unsigned char out[16])
{
    char scope[96];
    unsigned char mac[SHA256_BYTES];
    int n = snprintf(scope, sizeof scope, "%d:" STR_FMT, tenant, STR_ARG(kind));
    size_t bytes = n < (int)sizeof scope ? (size_t)n : sizeof scope - 1;
    mac_parts(ring->index, (struct str){scope, bytes}, value, mac);
    memcpy(out, mac, 16);
}

void keyring_auth_mac(const struct keyring *ring, struct str purpose, struct str value,
                      unsigned char out[SHA256_BYTES])
{
    mac_parts(ring->auth, purpose, value, out);
}
