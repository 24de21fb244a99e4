// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/agent_lib.h -- libcurl and libcrypto, loaded when a host becomes a member of a fleet and not
 * before: with the 28 libraries behind them they cost each process 6 ms and 3 MB, and most of
 * hotfixd's are workers, or serve a host that has no fleet. Calls look as ever: the macros below lead
 * through a table.
 *
 * Context    loop thread; agent_lib_open() reads files.
 * Errors     FAIL_INCOMPATIBLE the libraries are not there.
 */
#pragma once

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
/* For compilers that do not check types. */
#undef curl_multi_setopt
#undef curl_easy_setopt
#undef curl_easy_getinfo
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "lib/fail.h"

#define AGENT_LIB_CURL(X)           \
	X(curl_global_init)         \
	X(curl_global_cleanup)      \
	X(curl_multi_init)          \
	X(curl_multi_cleanup)       \
	X(curl_multi_setopt)        \
	X(curl_multi_add_handle)    \
	X(curl_multi_remove_handle) \
	X(curl_multi_socket_action) \
	X(curl_multi_info_read)     \
	X(curl_multi_assign)        \
	X(curl_easy_init)           \
	X(curl_easy_cleanup)        \
	X(curl_easy_setopt)         \
	X(curl_easy_getinfo)        \
	X(curl_easy_strerror)       \
	X(curl_slist_append)        \
	X(curl_slist_free_all)

#define AGENT_LIB_CRYPTO(X)            \
	X(ASN1_TIME_to_tm)             \
	X(BIO_ctrl)                    \
	X(BIO_free)                    \
	X(BIO_new)                     \
	X(BIO_new_mem_buf)             \
	X(BIO_s_mem)                   \
	X(ERR_clear_error)             \
	X(EVP_PKEY_free)               \
	X(EVP_PKEY_get_id)             \
	X(EVP_PKEY_get_raw_public_key) \
	X(EVP_sha256)                  \
	X(PEM_read_bio_PrivateKey)     \
	X(PEM_read_bio_X509)           \
	X(PEM_write_bio_X509)          \
	X(PEM_write_bio_X509_REQ)      \
	X(X509_NAME_add_entry_by_txt)  \
	X(X509_NAME_get_text_by_NID)   \
	X(X509_REQ_free)               \
	X(X509_REQ_get_subject_name)   \
	X(X509_REQ_new)                \
	X(X509_REQ_set_pubkey)         \
	X(X509_REQ_set_version)        \
	X(X509_REQ_sign)               \
	X(X509_check_private_key)      \
	X(X509_digest)                 \
	X(X509_free)                   \
	X(X509_get0_notAfter)          \
	X(X509_get0_notBefore)         \
	X(X509_get_subject_name)

struct agent_lib {
#define X(fn) __typeof__(fn) *fn##_;
	AGENT_LIB_CURL(X)
	AGENT_LIB_CRYPTO(X)
#undef X
};

extern struct agent_lib agent_lib;

/* Once is enough; for the rest of the process. */
int agent_lib_open(struct fail *reterr_fail);

#ifndef AGENT_LIB_TABLE /* server/agent_lib.c is about the functions themselves */
#define curl_global_init	    (*agent_lib.curl_global_init_)
#define curl_global_cleanup	    (*agent_lib.curl_global_cleanup_)
#define curl_multi_init		    (*agent_lib.curl_multi_init_)
#define curl_multi_cleanup	    (*agent_lib.curl_multi_cleanup_)
#define curl_multi_setopt	    (*agent_lib.curl_multi_setopt_)
#define curl_multi_add_handle	    (*agent_lib.curl_multi_add_handle_)
#define curl_multi_remove_handle    (*agent_lib.curl_multi_remove_handle_)
#define curl_multi_socket_action    (*agent_lib.curl_multi_socket_action_)
#define curl_multi_info_read	    (*agent_lib.curl_multi_info_read_)
#define curl_multi_assign	    (*agent_lib.curl_multi_assign_)
#define curl_easy_init		    (*agent_lib.curl_easy_init_)
#define curl_easy_cleanup	    (*agent_lib.curl_easy_cleanup_)
#define curl_easy_setopt	    (*agent_lib.curl_easy_setopt_)
#define curl_easy_getinfo	    (*agent_lib.curl_easy_getinfo_)
#define curl_easy_strerror	    (*agent_lib.curl_easy_strerror_)
#define curl_slist_append	    (*agent_lib.curl_slist_append_)
#define curl_slist_free_all	    (*agent_lib.curl_slist_free_all_)
#define ASN1_TIME_to_tm		    (*agent_lib.ASN1_TIME_to_tm_)
#define BIO_ctrl		    (*agent_lib.BIO_ctrl_)
#define BIO_free		    (*agent_lib.BIO_free_)
#define BIO_new			    (*agent_lib.BIO_new_)
#define BIO_new_mem_buf		    (*agent_lib.BIO_new_mem_buf_)
#define BIO_s_mem		    (*agent_lib.BIO_s_mem_)
#define ERR_clear_error		    (*agent_lib.ERR_clear_error_)
#define EVP_PKEY_free		    (*agent_lib.EVP_PKEY_free_)
#define EVP_PKEY_get_id		    (*agent_lib.EVP_PKEY_get_id_)
#define EVP_PKEY_get_raw_public_key (*agent_lib.EVP_PKEY_get_raw_public_key_)
#define EVP_sha256		    (*agent_lib.EVP_sha256_)
#define PEM_read_bio_PrivateKey	    (*agent_lib.PEM_read_bio_PrivateKey_)
#define PEM_read_bio_X509	    (*agent_lib.PEM_read_bio_X509_)
#define PEM_write_bio_X509	    (*agent_lib.PEM_write_bio_X509_)
#define PEM_write_bio_X509_REQ	    (*agent_lib.PEM_write_bio_X509_REQ_)
#define X509_NAME_add_entry_by_txt  (*agent_lib.X509_NAME_add_entry_by_txt_)
#define X509_NAME_get_text_by_NID   (*agent_lib.X509_NAME_get_text_by_NID_)
#define X509_REQ_free		    (*agent_lib.X509_REQ_free_)
#define X509_REQ_get_subject_name   (*agent_lib.X509_REQ_get_subject_name_)
#define X509_REQ_new		    (*agent_lib.X509_REQ_new_)
#define X509_REQ_set_pubkey	    (*agent_lib.X509_REQ_set_pubkey_)
#define X509_REQ_set_version	    (*agent_lib.X509_REQ_set_version_)
#define X509_REQ_sign		    (*agent_lib.X509_REQ_sign_)
#define X509_check_private_key	    (*agent_lib.X509_check_private_key_)
#define X509_digest		    (*agent_lib.X509_digest_)
#define X509_free		    (*agent_lib.X509_free_)
#define X509_get0_notAfter	    (*agent_lib.X509_get0_notAfter_)
#define X509_get0_notBefore	    (*agent_lib.X509_get0_notBefore_)
#define X509_get_subject_name	    (*agent_lib.X509_get_subject_name_)
#endif
