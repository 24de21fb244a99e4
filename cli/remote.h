// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/remote.h -- the commands that look after a fleet: its hosts, who may come in, what holds everybody,
 * what is in stock, and its database. They speak to the controller of a context (cli/context.h).
 */
#pragma once

#include "cli/cli.h"

/* The host of a name, an id, or the beginning of one that no other has. */
int remote_find_host(struct cli *c, const char *word, char ret_id[65],
		     struct fail *reterr_fail);
/* NAME=VALUE,... as {"NAME":"VALUE"}; a value of "" is null, if that is allowed. */
int remote_parse_labels(const char *const *words, size_t n, bool may_drop, json_t **ret_labels,
			struct fail *reterr_fail);
/* All that a selector fits, from all pages. NULL: all. */
int remote_hosts(struct cli *c, const char *selector_or_null, json_t **ret_hosts,
		 struct fail *reterr_fail);
int remote_call(struct cli *c, const char *method, const char *path, json_t *body_or_null,
		json_t **ret_doc, struct fail *reterr_fail);

int remote_run_host_list(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_host_show(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_host_label(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_host_hold(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_host_unhold(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_host_pin(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_host_forget(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_token(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_tokens(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_drop_token(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_freeze_add(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_freeze_list(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_freeze_remove(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_line(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_stock_list(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_stock_drop(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_operator_add(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_operator_list(struct cli *c, const struct args *a, struct fail *reterr_fail);
int remote_run_operator_revoke(struct cli *c, const struct args *a, struct fail *reterr_fail);
/* status, when a context is given */
int remote_status(struct cli *c, struct fail *reterr_fail);
/* No controller is needed, and none may run. */
int remote_run_migrate(struct cli *c, const struct args *a, struct fail *reterr_fail);
