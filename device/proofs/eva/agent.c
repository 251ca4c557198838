#include "agent.h"

#include "installed.h"
#include "pairing.h"
#include "stubs.h"

/* What the agent calls, in any of the ways in which it may answer. What a request carries is handed on as the CBOR reader
 * gave it, and is not read here: that it lies in the request is for the family cbor to say. All else is read and written in full. */

static struct bm_agent agent;

int bm_atecc608_zone(struct bm_atecc608 *chip, uint8_t zone[BM_ATECC608_ZONE_SIZE])
{
    any(&chip->status, 1);
    return stub_output(zone, BM_ATECC608_ZONE_SIZE);
}

void bm_atecc608_serial(const uint8_t zone[BM_ATECC608_ZONE_SIZE], uint8_t serial[BM_CHIP_SERIAL_SIZE])
{
    use(zone, BM_ATECC608_ZONE_SIZE);
    any(serial, BM_CHIP_SERIAL_SIZE);
}

int bm_atecc608_state(struct bm_atecc608 *chip, const uint8_t zone[BM_ATECC608_ZONE_SIZE], enum bm_unit_state *state,
                      uint8_t key[BM_KEY_SIZE])
{
    any(&chip->status, 1);
    use(zone, BM_ATECC608_ZONE_SIZE);
    *state = (enum bm_unit_state)Frama_C_interval(BM_UNIT_BLANK, BM_UNIT_FOREIGN);
    any(key, BM_KEY_SIZE);
    return any_status();
}

int bm_atecc608_prepare(struct bm_atecc608 *chip, uint8_t zone[BM_ATECC608_ZONE_SIZE], uint8_t key[BM_KEY_SIZE],
                        uint8_t attestation[BM_KEY_SIZE])
{
    int status = bm_atecc608_zone(chip, zone);

    any(key, BM_KEY_SIZE);
    if (Frama_C_interval(0, 1)) {
        return BM_ERR_STATE;
    }
    return status == BM_OK ? stub_output(attestation, BM_KEY_SIZE) : status;
}

int bm_atecc608_attest(struct bm_atecc608 *chip, const uint8_t digest[BM_HASH_SIZE], uint8_t signature[BM_SIGNATURE_SIZE])
{
    any(&chip->status, 1);
    use(digest, BM_HASH_SIZE);
    return stub_output(signature, BM_SIGNATURE_SIZE);
}

int bm_atecc608_lock_slot(struct bm_atecc608 *chip, uint8_t block[BM_ATECC608_BLOCK_SIZE])
{
    any(&chip->status, 1);
    return stub_output(block, BM_ATECC608_BLOCK_SIZE);
}

/* Certificates of any sizes at the places that these make. */
int bm_installed_load(struct bm_atecc608 *chip, struct bm_identity *identity)
{
    any(&chip->status, 1);
    *identity = (struct bm_identity){.id_size = 0};
    if (Frama_C_interval(0, 1)) {
        any(identity->id, sizeof identity->id);
        identity->id_size = (uint16_t)Frama_C_interval(1, BM_ID_CRED_MAX);
        identity->unit_at = (uint8_t)Frama_C_interval(5, 6);
        identity->unit_size = (uint8_t)Frama_C_interval(1, BM_UNIT_CERTIFICATE_MAX);
        identity->order_at = (uint16_t)Frama_C_interval(7, 8 + BM_UNIT_CERTIFICATE_MAX);
        identity->order_size = (uint8_t)Frama_C_interval(1, BM_ORDER_CERTIFICATE_MAX);
    }
    return any_status();
}

int bm_installed_write_certificates(struct bm_atecc608 *chip, const struct bm_birth *birth, struct bm_identity *identity)
{
    use(birth->key, BM_KEY_SIZE);
    return bm_installed_load(chip, identity);
}

int bm_installed_write_anchor(const struct bm_port *port, const uint8_t anchor[BM_ANCHOR_SIZE])
{
    (void)port;
    use(anchor, BM_ANCHOR_SIZE);
    return any_status();
}

const uint8_t *bm_installed_anchor(const struct bm_port *port)
{
    static uint8_t anchor[BM_ANCHOR_SIZE];

    (void)port;
    any(anchor, sizeof anchor);
    return Frama_C_interval(0, 1) ? anchor : NULL;
}

int bm_trust(const struct bm_port *port, const struct bm_image *image, const struct bm_birth *birth)
{
    (void)port, (void)image;
    use(birth->anchor, BM_ANCHOR_SIZE);
    use(birth->key, BM_KEY_SIZE);
    return Frama_C_interval(0, 1) ? Frama_C_interval(1, 16) : any_status();
}

int bm_trust_peer(const struct bm_port *port, const struct bm_image *image, int mode, const uint8_t *id, size_t id_size,
                  struct bm_peer *peer, uint8_t order_hash[BM_ORDER_HASH_SIZE])
{
    (void)port, (void)image, (void)mode, (void)id, (void)id_size, (void)peer;
    any(order_hash, BM_ORDER_HASH_SIZE);
    return Frama_C_interval(0, 1) ? Frama_C_interval(1, 16) : any_status();
}

void bm_trust_version(const struct bm_port *port, struct bm_trust_version *version)
{
    (void)port;
    any(version, sizeof *version);
}

static int any_answer(void)
{
    return Frama_C_interval(BM_ERR_PORT, BM_OK);
}

int bm_trust_link(const struct bm_port *port, const uint8_t *link, size_t size)
{
    (void)port, (void)link, (void)size;
    return any_answer();
}

int bm_trust_list(const struct bm_port *port, const uint8_t *list, size_t size)
{
    return bm_trust_link(port, list, size);
}

int bm_trust_release(const struct bm_port *port, const uint8_t serial[BM_UNIT_NAME_SIZE], uint32_t generation,
                     const uint8_t *release, size_t size)
{
    (void)generation;
    use(serial, BM_UNIT_NAME_SIZE);
    return bm_trust_link(port, release, size);
}

void bm_pairing_read(const struct bm_port *port, struct bm_pairing *pairing)
{
    (void)port;
    any(pairing, sizeof *pairing);
}

int bm_pairing_write(const struct bm_port *port, const struct bm_pairing *pairing)
{
    (void)port;
    use(pairing, sizeof *pairing);
    return any_status();
}

void bm_edhoc_wipe(struct bm_edhoc *e)
{
    any(e, sizeof *e);
}

/* Some time behind this, EDHOC asks who the peer is. */
int bm_edhoc_start(struct bm_edhoc *e, struct bm_edhoc_config *config, int role)
{
    static uint8_t id[BM_ID_CRED_MAX];
    struct bm_peer peer;

    (void)role;
    any(e, sizeof *e);
    (void)config->resolve(config->user, (unsigned)Frama_C_interval(0, 255), id, sizeof id, &peer);
    use(config->own.id, config->own.id_size);
    use(config->own.cred, config->own.cred_size);
    return any_status();
}

int bm_edhoc_read(struct bm_edhoc *e, uint8_t *message, size_t size)
{
    (void)message, (void)size;
    any(e, sizeof *e);
    return Frama_C_interval(BM_ERR_PEER, BM_OK);
}

/* The largest is message_2 or message_3, 110 bytes and ID_CRED. */
int bm_edhoc_write(struct bm_edhoc *e, uint8_t *out, size_t out_size, size_t *out_len)
{
    any(e, sizeof *e);
    any(out, out_size);
    *out_len = (size_t)Frama_C_interval(0, 110 + BM_ID_CRED_MAX);
    return any_answer();
}

int bm_edhoc_error(struct bm_edhoc *e, uint8_t *out, size_t out_size, size_t *out_len)
{
    return bm_edhoc_write(e, out, out_size, out_len);
}

void bm_sha256(uint8_t digest[BM_HASH_SIZE], const uint8_t *bytes, size_t size)
{
    use(bytes, bytes == agent.reply ? size : 0);
    any(digest, BM_HASH_SIZE);
}

void bm_line_send(void (*send)(void *user, const uint8_t *bytes, size_t size), void *user, uint8_t *payload,
                  size_t payload_size)
{
    (void)send, (void)user;
    use(payload, payload_size);
    any(payload + payload_size, BM_LINE_CRC_SIZE);
    ACCEPTED();
}

static void close_any(void *user)
{
    (void)user;
}

static int closed_any(void *user)
{
    (void)user;
    return Frama_C_interval(0, 1);
}

/* A request of any verb and any bytes, in the buffer that is made for it, to an agent in any state. Whatever comes of it, the
 * agent's state is one of these again. */
void request(void)
{
    static uint8_t buffer[BM_REQUEST_SIZE];
    static struct bm_identity identity;
    static struct bm_image image;
    const struct bm_port port = {.sign = stub_sign, .verify = stub_verify};
    const struct bm_board board = {.debug_close = close_any, .debug_closed = closed_any};
    struct bm_atecc608 chip = {.status = 0};

    any(&image, sizeof image);
    image.peer_count = (uint8_t)Frama_C_interval(1, BM_PEERS_MAX);
    any(buffer, sizeof buffer);
    any(&agent, sizeof agent);
    agent.image = &image;
    agent.port = &port;
    agent.chip = &chip;
    agent.board = &board;
    agent.identity = &identity;
    agent.reply_len = (uint16_t)Frama_C_interval(0, BM_REPLY_MAX);
    agent.unit.state = (enum bm_unit_state)Frama_C_interval(BM_UNIT_BLANK, BM_UNIT_FOREIGN);
    (void)bm_installed_load(&chip, &identity); /* whatever an earlier survey found */
    bm_agent_frame(&agent, buffer, (size_t)Frama_C_interval(0, HI));
    /*@ assert agent.reply_len <= BM_REPLY_MAX; */
    /*@ assert agent.unit.state <= BM_UNIT_FOREIGN; */
}
