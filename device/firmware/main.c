/* A whole product in 32 KB: provisioned on its line, it then meets another one on the same line, pairs with it at the press of a
 * button at both, and sends it what is typed on the console; the other one prints that and sends it back. */
#include "agent.h"
#include "board.h"
#include "image_constants.h"
#include "installed.h"
#include "internal.h"
#include "policy.h"
#include "start.h"
#include "swi.h"

enum { TEXT_MAX = 24, LOOK_MS = 1000 };
enum { SAID = 0, ECHOED = 1 };   /* first byte of a message */
enum { FIRST_OF_AGENT = 0x80 }; /* docs/peerlink.md, "Frames" */

extern const uint8_t firmware_start[], firmware_end[]; /* sections.ld */

struct message {
    uint8_t size; /* 0: none */
    uint8_t bytes[1 + TEXT_MAX];
};

static struct bm_image image;
static struct bm_identity identity;
static struct bm_swi swi;
static struct bm_atecc608_bus bus;
static struct bm_atecc608 chip;
static struct bm_gesture gesture;
static struct bm_line line;
static struct message typed, echo;
static uint8_t column;   /* of the line that is being typed */
static uint8_t sealed;
static uint8_t at_peer;  /* which of the two in memory is there */
static uint8_t wanted;   /* a meeting */
static uint32_t looked;  /* for the seal, or for the peer */

/* Station and peer share the line, and the unit has memory for one of them at a time: it is there for the one that it heard from
 * last. A session with the peer that the station breaks off is begun anew as after a power cut. */
static union {
    uint8_t frame[BM_PEERLINK_FRAME_SIZE]; /* of either, which stays where it is while memory changes hands */
    struct {
        uint8_t frame[BM_REQUEST_SIZE];
        struct bm_agent agent;
    } station;
    struct {
        uint8_t frame[BM_PEERLINK_FRAME_SIZE];
        uint8_t in[BM_PEERLINK_IN_SIZE], out[BM_PEERLINK_OUT_SIZE];
        struct bm_peerlink link;
    } peer;
} memory;

/* The console. */

static void print(const char *text)
{
    for (; *text != 0; text++) {
        board_send(BOARD_CONSOLE, (const uint8_t *)text, 1);
    }
}

/* -9999 to 9999 */
static void print_number(int number)
{
    static const int16_t places[] = {1000, 100, 10, 1};
    int shown = 0;

    if (number < 0) {
        print("-");
        number = -number;
    }
    for (unsigned i = 0; i < 4; i++) {
        uint8_t digit = '0';
        for (; number >= places[i]; number -= places[i]) {
            digit++;
        }
        shown |= digit > '0' || places[i] == 1;
        if (shown) {
            board_send(BOARD_CONSOLE, &digit, 1);
        }
    }
}

static void print_hex(const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; size > 0; size--, bytes++) {
        const uint8_t pair[2] = {(uint8_t)digits[*bytes >> 4], (uint8_t)digits[*bytes & 15]};
        board_send(BOARD_CONSOLE, pair, 2);
    }
}

/* The chip on its wire. */

static int chip_wake(void *user)
{
    (void)user;
    board_wake_chip();
    return BM_OK;
}

static int chip_send(void *user, uint8_t symbol)
{
    (void)user;
    board_send(BOARD_CHIP, &symbol, 1);
    return BM_OK;
}

static int chip_receive(void *user, uint8_t *symbol, unsigned milliseconds)
{
    uint32_t start = board_now();

    (void)user;
    while (!board_receive(BOARD_CHIP, symbol)) {
        if (board_now() - start > milliseconds) { /* the tick may have been near */
            return BM_ERR_PORT;
        }
        board_sleep();
    }
    return BM_OK;
}

static const struct bm_port port = {
    .user = &chip,
    .random = bm_atecc608_random,
    .public_key = bm_atecc608_public_key,
    .sign = bm_atecc608_sign,
    .verify = bm_atecc608_verify,
    .ephemeral = bm_atecc608_ephemeral,
    .ecdh = bm_atecc608_ecdh,
    .aes = bm_aes128,
    .flash = board_flash,
    .flash_program = board_flash_program,
    .flash_erase = board_flash_erase,
    .page_size = BOARD_PAGE_SIZE,
    .key_usage = BM_DIGITAL_SIGNATURE,
    .ephemeral_uses = 1,
};

/* The line, which station and peer share. */

static void send_line(void *user, const uint8_t *bytes, size_t size)
{
    (void)user;
    board_send(BOARD_LINE, bytes, size);
}

static const struct bm_board board = {
    .send = send_line, .debug_close = board_debug_close, .debug_closed = board_debug_closed};

static void received(void *user, const uint8_t *message, size_t size)
{
    (void)user;
    if (size < 1 || size > sizeof typed.bytes) {
        return;
    }
    print(message[0] == SAID ? "heard " : "echo ");
    board_send(BOARD_CONSOLE, message + 1, size - 1);
    print("\n");
    if (message[0] == SAID) {
        bm_copy(echo.bytes, message, size);
        echo.bytes[0] = ECHOED;
        echo.size = (uint8_t)size;
    }
}

static void changed(void *user, int event, int reason)
{
    static const char *const names[] = {"", "ready ", "failed ", "undelivered ", "released ", "closed "};
    uint8_t serial[BM_UNIT_NAME_SIZE], code[BM_CODE_SIZE];

    (void)user;
    print(names[event]);
    print_number(reason);
    if (event == BM_PEERLINK_READY) {
        wanted = 0;
    }
    if (event == BM_PEERLINK_READY && bm_peerlink_peer(&memory.peer.link, serial, code) == BM_OK) {
        print(" ");
        print_hex(serial, sizeof serial);
    }
    print("\n");
    if (event == BM_PEERLINK_FAILED) {
        typed.size = echo.size = 0; /* else they would start the next meeting, and so on */
    }
}

static const struct bm_peerlink_config config = {
    .port = &port,
    .image = &image,
    .identity = &identity,
    .in = memory.peer.in,
    .out = memory.peer.out,
    .send = send_line,
    .received = received,
    .changed = changed,
    .pair_allowed = bm_gesture,
    .policy = &gesture,
};

/* One line at a time; what is typed further waits in the UART. An empty line asks how deep the stack has been. */
static void take_console(void)
{
    uint8_t byte;

    while (typed.size == 0 && board_receive(BOARD_CONSOLE, &byte)) {
        if (byte == '\n' || byte == '\r') {
            if (column == 0) {
                print("stack ");
                print_number((int)stack_used());
                print("\n");
                continue;
            }
            typed.size = (uint8_t)(1 + column);
            column = 0;
        } else if (column < TEXT_MAX) {
            column++;
            typed.bytes[column] = byte;
        }
    }
}

/* Send a message once the peer is there, which is met first if it is not. */
static void deliver(struct message *message)
{
    if (message->size > 0 && bm_peerlink_send(&memory.peer.link, message->bytes, message->size) == BM_OK) {
        message->size = 0;
    } else if (message->size > 0 && bm_peerlink_state(&memory.peer.link) == BM_PEERLINK_IDLE) {
        wanted = 1;
    }
}

/* Secrets of either go with it. */
static void turn_to_station(void)
{
    at_peer = 0;
    bm_wipe(&memory.peer.link, sizeof memory.peer.link);
    bm_wipe(memory.peer.in, sizeof memory.peer.in);
    bm_wipe(memory.peer.out, sizeof memory.peer.out);
    bm_line_start(&line, memory.station.frame, sizeof memory.station.frame);
    bm_agent_start(&memory.station.agent, &image, &port, &chip, &board, &identity);
}

/* A chip that does not answer is asked again. */
static void turn_to_peer(void)
{
    looked = board_now();
    bm_wipe(&memory.station.agent, sizeof memory.station.agent);
    if (bm_installed_load(&chip, &identity) != BM_OK || bm_peerlink_start(&memory.peer.link, &config, board_now()) != BM_OK) {
        turn_to_station();
        return;
    }
    at_peer = 1;
    bm_line_start(&line, memory.peer.frame, sizeof memory.peer.frame);
}

/* From the seal on there is a peer. The debug port is closed just before, and to ask that costs nothing. A paired unit looks for its
 * peer at once. */
static void look_for_seal(void)
{
    uint8_t zone[BM_ATECC608_ZONE_SIZE], key[BM_KEY_SIZE];
    struct bm_pairing pairing;
    enum bm_unit_state state;

    looked = board_now();
    if (!board_debug_closed(NULL) || bm_atecc608_zone(&chip, zone) != BM_OK ||
        bm_atecc608_state(&chip, zone, &state, key) != BM_OK || state != BM_UNIT_SEALED) {
        return;
    }
    sealed = 1;
    bm_gesture_start(&gesture, board_now());
    bm_pairing_read(&port, &pairing);
    wanted = pairing.state == BM_PAIRING_PAIRED;
    wanted |= bm_gesture_tick(&gesture, board_now(), board_button()) == BM_GESTURE_PRESSED; /* from here on a press is one */
    print("sealed\n");
}

static void live(void)
{
    int gestured = bm_gesture_tick(&gesture, board_now(), board_button());

    wanted |= gestured == BM_GESTURE_PRESSED;
    if (!at_peer && (gestured == BM_GESTURE_RELEASE || ((wanted || typed.size > 0) && board_now() - looked >= LOOK_MS))) {
        turn_to_peer();
    }
    if (gestured == BM_GESTURE_RELEASE) {
        print(at_peer && bm_peerlink_unpair(&memory.peer.link) == BM_OK ? "unpaired\n" : "nothing to unpair\n");
    }
    if (!at_peer) {
        return;
    }
    bm_peerlink_tick(&memory.peer.link, board_now());
    deliver(&echo);
    deliver(&typed);
    if (wanted && bm_peerlink_connect(&memory.peer.link) == BM_OK) {
        wanted = 0; /* else behind the meeting that goes on: it may end just because the button was not pressed yet */
    }
}

static void take_frame(size_t size)
{
    int of_agent = memory.frame[0] >= FIRST_OF_AGENT;

    if (of_agent && at_peer) {
        turn_to_station();
    } else if (!of_agent && !at_peer && sealed && size <= sizeof memory.frame) {
        turn_to_peer();
    }
    if (of_agent) {
        bm_agent_frame(&memory.station.agent, memory.station.frame, size);
        if (!sealed) {
            look_for_seal();
        }
    } else if (at_peer) {
        bm_peerlink_frame(&memory.peer.link, memory.peer.frame, size);
    }
}

static void take_line(void)
{
    uint8_t byte;
    size_t size;

    while (board_receive(BOARD_LINE, &byte)) {
        if (bm_line_receive(&line, byte, &size)) {
            take_frame(size);
        }
    }
}

int main(void)
{
    board_start();
    bm_copy((uint8_t *)&image, (const uint8_t *)image_constants(), sizeof image);
    bm_sha256(image.firmware_hash, firmware_start, (size_t)(firmware_end - firmware_start));
    swi.wake = chip_wake;
    swi.send = chip_send;
    swi.receive = chip_receive;
    swi.echo = board_chip_echo;
    bm_swi_start(&bus, &swi);
    bm_atecc608_start(&chip, &bus);
#ifdef BM_CONFIG_IO_KEY
    bm_atecc608_protect(&chip, &port);
#endif
    turn_to_station();
    print("birthmark\n");
    look_for_seal();
    for (;;) {
        take_line();
        take_console();
        if (sealed) {
            live();
        } else if (board_now() - looked >= LOOK_MS) {
            look_for_seal();
        }
        board_sleep();
    }
}
