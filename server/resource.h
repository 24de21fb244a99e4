// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/resource.h -- what each resource of the API does; api.c routes to these.
 *
 * Context    loop thread.
 * Errors     -errno with reterr_fail: the router answers with it. 0: answered, or parked.
 */
#pragma once

#include "server/call.h"

int resource_status(struct call *call, struct fail *reterr_fail);
int resource_list(struct call *call, struct fail *reterr_fail);
int resource_show(struct call *call, struct fail *reterr_fail);
int resource_history(struct call *call, struct fail *reterr_fail);
int resource_get_change(struct call *call, struct fail *reterr_fail);
int resource_audit(struct call *call, struct fail *reterr_fail);
int resource_audit_head(struct call *call, struct fail *reterr_fail);
int resource_audit_verify(struct call *call, struct fail *reterr_fail);
int resource_events(struct call *call, struct fail *reterr_fail);
int resource_doctor(struct call *call, struct fail *reterr_fail);
int resource_doctor_bundle(struct call *call, struct fail *reterr_fail);
int resource_get_trust(struct call *call, struct fail *reterr_fail);
int resource_import_trust(struct call *call, struct fail *reterr_fail);
int resource_import(struct call *call, struct fail *reterr_fail);
int resource_apply(struct call *call, struct fail *reterr_fail);
int resource_commit(struct call *call, struct fail *reterr_fail);
int resource_rollback(struct call *call, struct fail *reterr_fail);
int resource_disable(struct call *call, struct fail *reterr_fail);
int resource_enable(struct call *call, struct fail *reterr_fail);
int resource_enforce(struct call *call, struct fail *reterr_fail);
int resource_observe(struct call *call, struct fail *reterr_fail);
int resource_retry(struct call *call, struct fail *reterr_fail);
int resource_resume(struct call *call, struct fail *reterr_fail);
int resource_remove(struct call *call, struct fail *reterr_fail);
