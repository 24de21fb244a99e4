// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/fuzz/fuzz.h -- what fuzz_*.c share. Each of them is one target: a function from bytes
 * to nothing, which libFuzzer calls for as long as it is told to (make fuzz), and
 * tests/unit/test_fuzz.c once for each file of tests/fuzz/corpus/NAME/ (make check).
 *
 * A target gets behind what refuses nearly everything: documents are signed in the harness
 * with keys that anybody knows, digests are filled in, lengths are made to fit. What is true
 * for all inputs is checked with fuzz_must().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "store/key.h"
#include "store/trust.h"

#define FUZZ_TARGET(name)                                                            \
	int fuzz_one_##name(const uint8_t *data, size_t size);                       \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);                \
	__attribute__((weak)) int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) \
	{                                                                            \
		return fuzz_one_##name(d, n);                                        \
	}                                                                            \
	int fuzz_one_##name(const uint8_t *data, size_t size)

/* True for every input, or it is a finding. */
#define fuzz_must(cond)                                                                      \
	do {                                                                                 \
		if (!(cond)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                             \
		}                                                                            \
	} while (0)

/* A copy with a NUL behind it. */
char *fuzz_text(const uint8_t *data, size_t size);
/* Up to the next separator byte; *data and *size move behind it. NULL: there is nothing left. */
char *fuzz_part(const uint8_t **data, size_t *size, int separator, size_t *ret_len);

/* A folder in memory, gone when the process ends; and a file in it. */
const char *fuzz_folder(void);
void fuzz_write(const char *name, const void *buf, size_t len);

/* Is the body of this HTTP answer there too? Where it begins and how long it is, once its head is. */
bool fuzz_answer_is_whole(const char *text, size_t len, size_t *ret_body, size_t *ret_body_len);

#define FUZZ_KEYS     3
#define FUZZ_DIRECTOR 1 /* of the fleet in the root that is trusted */
#define FUZZ_STATUS   2
/* The same in every process. */
struct key *fuzz_key(size_t i);
/* The first n of them. */
struct trust_role fuzz_role(size_t n, unsigned int threshold);
/* A root that trusts the first key, with those of the fleet; and its envelope. */
const struct trust *fuzz_trust(void);
const char *fuzz_root(void);
/* A bundle of an object, signed by the first key; more is spliced into the manifest. */
uint8_t *fuzz_bundle(const char *name, uint64_t serial, const void *object, size_t object_len,
		     const char *hooks, const char *more, size_t *ret_len);

/*
 * kernel.c: what stands in the place of workers and bpffs. Gates are memory, workers answer
 * at once, and how they fare is told by the bytes of luck: '.' well, others a failure, from
 * 'a' on after all was done.
 */
void fuzz_kernel_reset(const uint8_t *luck, size_t n);
/* Somebody else writes into a gate. */
void fuzz_kernel_scribble(const char *name, const uint8_t *bytes, size_t n);
