
/*
 * Values of the directives.  The main configuration holds what is one over all
 * workers, a location's what a request of it needs.
 */


#ifndef _NGX_HTTP_CLAUDE_CONF_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_limits.h"
#include "ngx_claude_hash.h"
#include "ngx_claude_profile.h"
#include "ngx_claude_zone.h"


typedef struct {
    ngx_shm_zone_t           *shm_zone;
    ngx_claude_zone_t        *zone;

    ngx_uint_t                max_concurrent;
    ngx_uint_t                queue;
    ngx_msec_t                queue_timeout;
    ngx_uint_t                max_processes;
    ngx_uint_t                warm;               /* processes, over all
                                                     workers */
    ngx_msec_t                idle_timeout;
    time_t                    session_ttl;
    size_t                    max_line;
    ngx_str_t                 gate;               /* claude_gate_path: a
                                                     directory, "off", or
                                                     empty */
    char                     *gate_directory;     /* the gate's own, beneath
                                                     that; NULL: off */
    ngx_str_t                 state;              /* claude_state_path, links
                                                     resolved; empty: not
                                                     needed */
    ngx_array_t               homes;              /* char *, names of keys'
                                                     directories */

    ngx_cycle_t              *cycle;              /* cycle of this
                                                     configuration */
    ngx_path_t               *directory;          /* the private default */
    ngx_array_t               locations;          /* loc_conf_t *, of locations
                                                     with an endpoint */
    ngx_array_t               profiles;           /* profile_t *, each one
                                                     once */
    ngx_array_t               dialects;           /* dialect_t *, those of the
                                                     longest paths first */
    ngx_claude_limits_t       limits;             /* set for the engine */
} ngx_http_claude_main_conf_t;


/* an API key, of which nothing remains but its SHA-1 */
typedef struct {
    ngx_str_t                      name;          /* label in logs and
                                                     metrics */
    ngx_claude_hash_t              hash;          /* SHA-1 of the secret */
    ngx_claude_hash_t              tenant;        /* identity: that of its
                                                     name, which secrets may
                                                     share, else of itself */
    char                          *home;          /* name of its directories */
} ngx_http_claude_key_t;


/* the name of the directories of all who need no key */
#define NGX_HTTP_CLAUDE_ANYBODY  "key-none"


/* a client's model name, and the one that the CLI knows */
typedef struct {
    ngx_str_t                      from;
    ngx_str_t                      to;
} ngx_http_claude_model_t;


typedef struct ngx_http_claude_loc_conf_s  ngx_http_claude_loc_conf_t;

struct ngx_http_claude_loc_conf_s {
    ngx_flag_t                     openai;
    ngx_flag_t                     guarded;       /* asks for a key */
    ngx_uint_t                     endpoint;      /* has one of ours, of any
                                                     kind */
    ngx_str_t                      prefix;        /* addresses begin with it;
                                                     empty: they are known by
                                                     their ends */
    ngx_http_claude_loc_conf_t    *around;        /* location around an "if" or
                                                     a limit_except, or NULL */

    ngx_flag_t                     auth;
    ngx_array_t                   *keys;          /* key_t */

    ngx_str_t                      binary;
    ngx_array_t                   *env;           /* ngx_str_t */
    ngx_array_t                   *args;
    ngx_str_t                      directory;
    ngx_str_t                      fallback_model;
    ngx_str_t                      max_budget;
    ngx_str_t                      tools;
    ngx_str_t                      permission_mode;
    ngx_str_t                      mcp_config;
    ngx_uint_t                     sandbox;
    ngx_claude_profile_t          *profile;

    ngx_http_complex_value_t      *default_model;
    ngx_http_complex_value_t      *system_prompt;
    ngx_array_t                   *models;        /* model_t */

    ngx_msec_t                     timeout;
    ngx_msec_t                     turn_timeout;
    ngx_msec_t                     heartbeat;
    ngx_flag_t                     sampling;
};


extern ngx_module_t  ngx_http_claude_module;


/* handlers of the directives claude_zone, claude_queue and so on */
char *ngx_http_claude_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_queue(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_env(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_claude_conf_env_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_args(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_state(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_directory(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_budget(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_tools(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_permission(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_mcp(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_claude_conf_fallback(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_claude_conf_prompt(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Whether "off" is all that a repeatable directive says: what a level above
 * has is not inherited then, and *list is an empty array of such elements.
 * NGX_OK, NGX_DECLINED: it says something else; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_conf_off(ngx_conf_t *cf, ngx_array_t **list,
    size_t size);

/* a constant as a complex value, or NULL: no memory */
ngx_http_complex_value_t *ngx_http_claude_conf_constant(ngx_conf_t *cf,
    const char *text);

#define NGX_HTTP_CLAUDE_CONF_PROMPT  "You are a helpful assistant."


#endif /* _NGX_HTTP_CLAUDE_CONF_H_INCLUDED_ */
