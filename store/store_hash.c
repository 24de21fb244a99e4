// SPDX-License-Identifier: BSD-2-Clause
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "store/bytes.h"
#include "store/sql.h"
#include "store/store_private.h"

#define THREADS 2

struct wrong {
	char name[HOOK_NAME_MAX + 1];
	uint64_t serial;
};

/* Bundles whose row is part of parts; what is in here is the thread's until it has ended. */
struct hasher {
	struct store_hashing *all;
	uint64_t part, parts;
	struct wrong *wrong;
	size_t n_wrong;
	int r;
};

struct store_hashing {
	char *path;
	sem_t begin; /* once for each thread */
	bool has_begun;
	atomic_bool stop;
	pthread_t thread[THREADS];
	size_t n_threads;
	struct hasher hasher[THREADS];
};

static int add_wrong(struct hasher *h, struct sql_rows *rows)
{
	struct wrong *grown = realloc(h->wrong, (h->n_wrong + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	h->wrong = grown;
	grown[h->n_wrong].serial = sql_u64(rows, 1);
	return sql_text_fit(rows, 0, grown[h->n_wrong++].name, sizeof(grown->name));
}

static int hash_all(struct hasher *h, struct sql *q, const atomic_bool *stop)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	uint8_t is[BYTES_SHA256], was[BYTES_SHA256];
	const void *bytes;
	size_t len;
	int r;

	r = sql_ask(q, &rows,
		    "SELECT name, serial, digest, bytes FROM version JOIN bundle USING (id)"
		    " WHERE version.id % ? = ?",
		    "uu", h->parts, h->part);
	while (r == 0 && (r = sql_next(rows)) > 0) {
		if (stop && *stop)
			return -ECANCELED;
		r = sql_blob_exact(rows, 2, was, sizeof(was));
		bytes = sql_blob(rows, 3, &len);
		bytes_sha256(bytes, len, is);
		if (r == 0 && memcmp(is, was, sizeof(is)) != 0)
			r = add_wrong(h, rows);
	}
	return r;
}

static void *hash_beside(void *cookie)
{
	AUTO(sql_freep) struct sql *q = NULL;
	struct hasher *h = cookie;

	while (sem_wait(&h->all->begin) < 0)
		;
	h->r = h->all->stop ? -ECANCELED : sql_open_beside(h->all->path, &q);
	if (h->r == 0)
		h->r = hash_all(h, q, &h->all->stop);
	return NULL;
}

static void join(struct store_hashing *h)
{
	while (h->n_threads)
		pthread_join(h->thread[--h->n_threads], NULL);
}

void store_hashing_begin(struct store_hashing *h)
{
	if (!h || h->has_begun)
		return;
	h->has_begun = true;
	for (size_t i = 0; i < h->n_threads; i++)
		sem_post(&h->begin);
}

int store_hashing_new(const char *path, struct store_hashing **ret_hashing)
{
	AUTO(store_hashing_freep) struct store_hashing *h = calloc(1, sizeof(*h));
	sigset_t all, old;
	int r = 0;

	if (!h)
		return -ENOMEM;
	sem_init(&h->begin, 0, 0);
	h->path = strdup(path);
	if (!h->path)
		return -ENOMEM;
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (size_t i = 0; r == 0 && i < THREADS; i++) {
		h->hasher[i] = (struct hasher){.all = h, .part = i, .parts = THREADS};
		r = -pthread_create(&h->thread[i], NULL, hash_beside, &h->hasher[i]);
		h->n_threads += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0)
		return r;
	*ret_hashing = take_ptr(h);
	return 0;
}

static void tell(const struct hasher *h,
		 void (*fn)(const char *name, uint64_t serial, void *cookie), void *cookie)
{
	for (size_t i = 0; i < h->n_wrong; i++)
		fn(h->wrong[i].name, h->wrong[i].serial, cookie);
}

int store_hashing_end(struct store_hashing *h, struct store *s,
		      void (*fn)(const char *name, uint64_t serial, void *cookie), void *cookie)
{
	struct hasher here = {.parts = 1};
	int r = h && h->has_begun ? 0 : -ECANCELED;

	if (r == 0)
		join(h);
	for (size_t i = 0; r == 0 && i < THREADS; i++)
		r = h->hasher[i].r;
	if (r == 0) {
		for (size_t i = 0; i < THREADS; i++)
			tell(&h->hasher[i], fn, cookie);
		return 0;
	}
	r = hash_all(&here, s->q, NULL);
	tell(&here, fn, cookie);
	free(here.wrong);
	return r;
}

struct store_hashing *store_hashing_free(struct store_hashing *h)
{
	if (!h)
		return NULL;
	h->stop = true;
	store_hashing_begin(h);
	join(h);
	sem_destroy(&h->begin);
	for (size_t i = 0; i < THREADS; i++)
		free(h->hasher[i].wrong);
	free(h->path);
	free(h);
	return NULL;
}
