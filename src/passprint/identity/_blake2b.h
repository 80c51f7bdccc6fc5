/* BLAKE2b with 32 bytes and no key (RFC 7693): the same bytes as hashlib.blake2b(data, digest_size=32).digest().

   Nodes are hashed by the thousand and are short; an object of hashlib for each takes longer than the hashing. */

#ifndef PASSPRINT_BLAKE2B_H
#define PASSPRINT_BLAKE2B_H

#include <stdint.h>
#include <string.h>

enum { BLOCK = 128, DIGEST = 32 };

typedef struct {
    uint64_t state[8];
    uint64_t taken; /* bytes, those that wait included */
    size_t waiting; /* bytes of a block that is not full, or is the last so far */
    uint8_t block[BLOCK];
} Blake2b;

/* What the state begins as: the fractions of the square roots of the first eight primes. */
static const uint64_t blake2b_start[8] = {
    0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
    0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u,
};

static inline uint64_t
blake2b_word(const uint8_t *from) /* eight bytes, the lowest first */
{
#if PY_LITTLE_ENDIAN
    uint64_t word;
    memcpy(&word, from, sizeof(word));
    return word;
#else
    uint64_t word = 0;
    for (int at = 7; at >= 0; at--) {
        word = word << 8 | from[at];
    }
    return word;
#endif
}

static inline uint64_t
blake2b_turned(uint64_t word, int by)
{
    return word >> by | word << (64 - by);
}

#define MIX(a, b, c, d, x, y)                                                                                          \
    do {                                                                                                               \
        a += b + (x);                                                                                                  \
        d = blake2b_turned(d ^ a, 32);                                                                                 \
        c += d;                                                                                                        \
        b = blake2b_turned(b ^ c, 24);                                                                                 \
        a += b + (y);                                                                                                  \
        d = blake2b_turned(d ^ a, 16);                                                                                 \
        c += d;                                                                                                        \
        b = blake2b_turned(b ^ c, 63);                                                                                 \
    } while (0)

/* A round takes the words of the message in its own order. Written out, so that the words' places are constants. */
#define ROUND(p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15)                                    \
    MIX(v[0], v[4], v[8], v[12], m[p0], m[p1]);                                                                        \
    MIX(v[1], v[5], v[9], v[13], m[p2], m[p3]);                                                                        \
    MIX(v[2], v[6], v[10], v[14], m[p4], m[p5]);                                                                       \
    MIX(v[3], v[7], v[11], v[15], m[p6], m[p7]);                                                                       \
    MIX(v[0], v[5], v[10], v[15], m[p8], m[p9]);                                                                       \
    MIX(v[1], v[6], v[11], v[12], m[p10], m[p11]);                                                                     \
    MIX(v[2], v[7], v[8], v[13], m[p12], m[p13]);                                                                      \
    MIX(v[3], v[4], v[9], v[14], m[p14], m[p15])

static void
blake2b_compress(Blake2b *hash, const uint8_t *block, uint64_t is_last)
{
    uint64_t m[16], v[16];
    for (int at = 0; at < 16; at++) {
        m[at] = blake2b_word(block + 8 * at);
    }
    for (int at = 0; at < 8; at++) {
        v[at] = hash->state[at];
        v[8 + at] = blake2b_start[at];
    }
    v[12] ^= hash->taken;
    v[14] ^= is_last ? ~(uint64_t)0 : 0;
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    for (int at = 0; at < 8; at++) {
        hash->state[at] ^= v[at] ^ v[8 + at];
    }
}

#undef ROUND
#undef MIX

static inline void
blake2b_begin(Blake2b *hash)
{
    memcpy(hash->state, blake2b_start, sizeof(blake2b_start));
    hash->state[0] ^= 0x01010000 ^ DIGEST; /* one level, no key, so many bytes */
    hash->taken = 0;
    hash->waiting = 0;
}

/* The last block is compressed in another way, so a full one waits until more comes. */
static inline void
blake2b_take(Blake2b *hash, const void *data, size_t size)
{
    const uint8_t *from = data;
    while (size > 0) {
        if (hash->waiting == BLOCK) {
            blake2b_compress(hash, hash->block, 0);
            hash->waiting = 0;
        }
        if (hash->waiting == 0 && size > BLOCK) {
            hash->taken += BLOCK;
            blake2b_compress(hash, from, 0);
            from += BLOCK;
            size -= BLOCK;
            continue;
        }
        size_t part = BLOCK - hash->waiting < size ? BLOCK - hash->waiting : size;
        memcpy(hash->block + hash->waiting, from, part);
        hash->waiting += part;
        hash->taken += part;
        from += part;
        size -= part;
    }
}

static inline void
blake2b_end(Blake2b *hash, uint8_t *digest)
{
    memset(hash->block + hash->waiting, 0, BLOCK - hash->waiting);
    blake2b_compress(hash, hash->block, 1);
    for (int at = 0; at < DIGEST; at++) {
        digest[at] = (uint8_t)(hash->state[at / 8] >> 8 * (at % 8));
    }
}

#endif
