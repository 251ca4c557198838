#include "session.h"

#include "internal.h"

enum {
    LABEL_RECORDS = 32768, /* exporter label for what the Initiator sends; one more for the Responder */
    LABEL_EXPORTER = 10,   /* RFC 9528, 4.2.1 */
    LABEL_UPDATE = 11,     /* RFC 9528, appendix H */
    COUNTER_END = (1 << 24) - (1 << 16), /* of 2^24: generations change well before a nonce could come twice */
    GENERATION_MAX = 255
};

size_t bm_session_size(void)
{
    return sizeof(struct bm_session);
}

/* The first record of a generation, both directions. */
static void begin(struct bm_session *s)
{
    uint8_t prk[BM_PRK_SIZE];

    s->bad = 0;
    s->sent = 0;
    s->received = 0;
    bm_edhoc_kdf(prk, sizeof prk, s->prk_out, LABEL_EXPORTER, NULL, 0);
    for (unsigned from = 0; from < 2; from++) {
        bm_edhoc_kdf(s->keys[from], sizeof s->keys[from], prk, LABEL_RECORDS + from, &s->generation, 1);
    }
    bm_wipe(prk, sizeof prk);
}

int bm_session_start(struct bm_session *s, struct bm_edhoc *e)
{
    bm_session_wipe(s);
    if (e->state != BM_EDHOC_COMPLETE) {
        return BM_ERR_STATE;
    }
    s->open = 1;
    s->role = e->role;
    bm_copy(s->prk_out, e->prk, BM_PRK_SIZE);
    bm_edhoc_wipe(e);
    begin(s);
    return BM_OK;
}

/* The next generation. */
static void advance(struct bm_session *s)
{
    s->generation++;
    bm_edhoc_kdf(s->prk_out, BM_PRK_SIZE, s->prk_out, LABEL_UPDATE, &s->generation, 1);
    begin(s);
}

int bm_session_update(struct bm_session *s)
{
    if (!s->open || s->generation == GENERATION_MAX) {
        return BM_ERR_STATE;
    }
    advance(s);
    return BM_OK;
}

void bm_session_wipe(struct bm_session *s)
{
    bm_wipe(s, sizeof *s);
}

/* Seal or open a record whose header is in its place. */
static int crypt(const struct bm_session *s, const struct bm_port *port, uint8_t *record, size_t text_size, unsigned open)
{
    uint8_t key[BM_CCM_KEY_SIZE];

    bm_copy(key, s->keys[s->role ^ open], sizeof key);
    for (unsigned i = 1; i < BM_RECORD_HEADER_SIZE; i++) {
        key[sizeof key - BM_RECORD_HEADER_SIZE + i] ^= record[i];
    }
    int status = bm_ccm(port, key, record, BM_RECORD_HEADER_SIZE, record + BM_RECORD_HEADER_SIZE, text_size,
                        BM_RECORD_TAG_SIZE, open);
    bm_wipe(key, sizeof key);
    return status;
}

int bm_session_seal(struct bm_session *s, const struct bm_port *port, uint8_t *record, size_t record_size, size_t text_size,
                    size_t *record_len)
{
    *record_len = 0;
    if (text_size > BM_RECORD_TEXT_MAX || record_size < text_size + BM_RECORD_OVERHEAD) {
        return BM_ERR_SPACE;
    }
    if (!s->open || (s->sent >= COUNTER_END && bm_session_update(s) != BM_OK)) {
        return BM_ERR_STATE;
    }
    record[0] = s->generation;
    bm_put(record + 1, 3, s->sent);
    s->sent++; /* before anything can fail: no nonce comes twice */
    int status = crypt(s, port, record, text_size, 0);
    if (status == BM_OK) {
        *record_len = text_size + BM_RECORD_OVERHEAD;
    }
    return status;
}

int bm_session_open(struct bm_session *s, const struct bm_port *port, uint8_t *record, size_t record_size, size_t *text_len)
{
    struct bm_session next; /* s after this record, if its tag holds */
    size_t text_size = record_size - BM_RECORD_OVERHEAD;
    int status = BM_ERR_AUTH;

    *text_len = 0;
    if (!s->open) {
        return BM_ERR_STATE;
    }
    if (text_size > BM_RECORD_TEXT_MAX) { /* or record_size is below BM_RECORD_OVERHEAD */
        return BM_ERR_MALFORMED;
    }
    bm_copy((uint8_t *)&next, (const uint8_t *)s, sizeof next);
    uint32_t counter = bm_get(record + 1, 3);
    if (record[0] == s->generation + 1) {
        advance(&next);
    }
    if (record[0] == next.generation && counter >= next.received) {
        next.received = counter + 1;
        status = crypt(&next, port, record, text_size, 1);
        if (status == BM_OK) {
            bm_copy((uint8_t *)s, (const uint8_t *)&next, sizeof next);
            *text_len = text_size;
        } else if (status == BM_ERR_AUTH) {
            s->bad++;
            if (s->bad == 0) { /* the 2^16th */
                bm_session_wipe(s);
            }
        }
    }
    bm_session_wipe(&next);
    return status;
}
