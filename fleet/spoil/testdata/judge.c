/* A unit that judges what it is given on standard input, one case a line, and says on standard output what the library returned.
 * Signatures are verified by whoever asks: "verify KEY DIGEST SIGNATURE" wants a line 1 or 0.
 *
 * A case: the check that is switched off, the function, the image's anchor hash, its product, its peers, the stored or given anchor,
 * a link and a list that are there, the file, what lies in memory behind it, and of a birth the order, what lies behind that, the key; of
 * a release the serial number and the generation. Bytes are hexadecimal, "-" is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flash.h"
#include "trust.h"

enum { PAGE_SIZE = 2048, FIELD_MAX = 4096 };

static char switched[FIELD_MAX];

/* 1 if this check is switched off: the patched sources ask. */
int off(const char *check);

int off(const char *check)
{
    return strcmp(check, switched) == 0;
}

static void word(char text[FIELD_MAX])
{
    if (scanf("%4095s", text) != 1) {
        exit(2);
    }
    if (strcmp(text, "-") == 0) {
        text[0] = 0;
    }
}

static uint32_t number(void)
{
    char text[FIELD_MAX];

    word(text);
    return (uint32_t)strtoul(text, NULL, 10);
}

/* Bytes in an area of their own, of exactly their size. */
struct area {
    uint8_t *bytes;
    size_t size;
};

static void append(struct area *a)
{
    char text[FIELD_MAX];

    word(text);
    size_t more = strlen(text) / 2;
    uint8_t *bytes = malloc(a->size + more);
    if (bytes == NULL && a->size + more > 0) {
        exit(2);
    }
    if (a->size > 0) {
        memcpy(bytes, a->bytes, a->size);
    }
    free(a->bytes);
    a->bytes = bytes;
    for (size_t i = 0; i < more; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], 0};
        a->bytes[a->size++] = (uint8_t)strtoul(digits, NULL, 16);
    }
}

static struct area area(void)
{
    struct area a = {NULL, 0};

    append(&a);
    return a;
}

/* The same with what lies in memory behind it, which is not of its size. */
static struct area followed(void)
{
    struct area a = area();
    size_t size = a.size;

    append(&a);
    a.size = size;
    return a;
}

static void print(const uint8_t *bytes, size_t size)
{
    putchar(' ');
    for (size_t i = 0; i < size; i++) {
        printf("%02x", bytes[i]);
    }
}

static int verify(void *user, const uint8_t key[BM_KEY_SIZE], const uint8_t digest[BM_HASH_SIZE],
                  const uint8_t signature[BM_SIGNATURE_SIZE])
{
    (void)user;
    printf("verify");
    print(key, BM_KEY_SIZE);
    print(digest, BM_HASH_SIZE);
    print(signature, BM_SIGNATURE_SIZE);
    printf("\n");
    fflush(stdout);
    return number() == 1 ? BM_OK : BM_ERR_AUTH;
}

static int program(void *user, unsigned page, uint32_t offset, const uint8_t *data, size_t size)
{
    memcpy((uint8_t *)user + page * PAGE_SIZE + offset, data, size);
    return BM_OK;
}

static int erase(void *user, unsigned page)
{
    memset((uint8_t *)user + page * PAGE_SIZE, 0xff, PAGE_SIZE);
    return BM_OK;
}

/* What is there before: nothing is switched off yet. */
static void believe(const struct bm_port *port, struct area anchor, struct area link, struct area list)
{
    if (bm_flash_append(port, BM_PAGE_TRUST, BM_RECORD_ANCHOR, anchor.bytes, anchor.size) != BM_OK ||
        (link.size > 0 && bm_trust_link(port, link.bytes, link.size) != BM_OK) ||
        (list.size > 0 && bm_trust_list(port, list.bytes, list.size) != BM_OK)) {
        exit(3);
    }
}

static int judge(void)
{
    static uint8_t flash[BM_FLASH_PAGES * PAGE_SIZE];
    struct bm_port port = {.user = flash, .verify = verify, .flash = flash, .flash_program = program, .flash_erase = erase,
                           .page_size = PAGE_SIZE};
    struct bm_image image = {.peer_count = 0};
    struct bm_peer peer;
    uint8_t order_hash[BM_ORDER_HASH_SIZE];
    char function[FIELD_MAX], check[FIELD_MAX], peers[FIELD_MAX];
    int status = 2;

    memset(flash, 0xff, sizeof flash);
    word(check);
    word(function);
    struct area hash = area();
    memcpy(image.anchor_hash, hash.bytes, BM_HASH_SIZE);
    image.product = number();
    word(peers);
    for (char *p = strtok(peers, ","); p != NULL; p = strtok(NULL, ",")) {
        image.peers[image.peer_count++] = (uint32_t)strtoul(p, NULL, 10);
    }
    struct area anchor = area(), link = area(), list = area(), file = followed(), order = followed(), key = area(), serial = area();
    uint32_t generation = number();
    int birth = strcmp(function, "bm_trust") == 0;
    if (!birth) {
        believe(&port, anchor, link, list);
    }
    strcpy(switched, check);
    if (birth) {
        struct bm_birth b = {anchor.bytes, order.bytes, order.size, file.bytes, file.size, key.bytes};
        status = bm_trust(&port, &image, &b);
    } else if (strcmp(function, "bm_trust_peer") == 0) {
        status = bm_trust_peer(&port, &image, BM_TRUST_UNIT, file.bytes, file.size, &peer, order_hash);
    } else if (strcmp(function, "bm_trust_link") == 0) {
        status = bm_trust_link(&port, file.bytes, file.size);
    } else if (strcmp(function, "bm_trust_list") == 0) {
        status = bm_trust_list(&port, file.bytes, file.size);
    } else if (strcmp(function, "bm_trust_release") == 0) {
        status = bm_trust_release(&port, serial.bytes, generation, file.bytes, file.size);
    } else {
        exit(2);
    }
    switched[0] = 0;
    struct area all[] = {hash, anchor, link, list, file, order, key, serial};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i].bytes);
    }
    return status;
}

int main(void)
{
    for (;;) {
        int next = getchar();
        if (next == EOF) {
            return 0;
        }
        if (next != '\n') {
            ungetc(next, stdin);
            printf("%d\n", judge());
            fflush(stdout);
        }
    }
}
