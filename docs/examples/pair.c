/* Two units pair over a socketpair, and one greets the other (docs/library.md). usage: pair UNIT UNIT PRODUCT */
#include "host.h"

#include <birthmark/policy.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

struct end {
    struct host host;
    struct bm_peerlink link;
    struct bm_peerlink_config config;
    int line, ready, greeted;
    uint8_t in[BM_PEERLINK_IN_SIZE], out[BM_PEERLINK_OUT_SIZE], frame[BM_PEERLINK_FRAME_SIZE];
};

static void send_line(void *user, const uint8_t *bytes, size_t size)
{
    (void)!send(((struct end *)user)->line, bytes, size, 0); /* what is lost is sent again */
}

static void received(void *user, const uint8_t *message, size_t size)
{
    ((struct end *)user)->greeted = printf("received: %.*s\n", (int)size, (const char *)message) > 0;
}

static void changed(void *user, int event, int reason)
{
    ((struct end *)user)->ready = event == BM_PEERLINK_READY && printf("ready, reason %d\n", reason) > 0;
    bm_psa_end(&((struct end *)user)->host.psa); /* the ephemeral key has done its work */
}

int main(int argc, char **argv)
{
    static struct end ends[2];
    int pair[2];

    if (argc != 4 || bm_abi() != BM_ABI || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        struct end *e = &ends[i];
        e->line = pair[i];
        e->config = (struct bm_peerlink_config){&e->host.port, &e->host.image, &e->host.identity, e->in, e->out, e->frame, e,
                                                send_line, received, changed, .pair_allowed = bm_wired};
        if (!host_start(&e->host, argv[1 + i], (uint32_t)strtoul(argv[3], NULL, 10)) ||
            bm_peerlink_start(&e->link, &e->config, 0) != BM_OK) {
            return 1;
        }
    }
    int asked = bm_peerlink_connect(&ends[0].link) == BM_OK;
    for (uint32_t now = 0; asked && !ends[1].greeted && now < 20000; now += 10) {
        poll(NULL, 0, 10); /* the clock */
        for (int i = 0; i < 2; i++) {
            for (uint8_t byte; recv(ends[i].line, &byte, 1, MSG_DONTWAIT) == 1;) {
                bm_peerlink_receive(&ends[i].link, byte);
            }
            bm_peerlink_tick(&ends[i].link, now);
        }
        if (ends[0].ready && bm_peerlink_send(&ends[0].link, (const uint8_t *)"hello", 5) == BM_OK) {
            ends[0].ready = 0;
        }
    }
    return ends[1].greeted ? 0 : 1;
}
