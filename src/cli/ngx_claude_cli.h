
/*
 * The CLI's protocol: the lines that it writes, read into one flat struct,
 * and the lines that it takes.
 *
 * Source of every line and field: docs/cli-protocol.md, measured on 2.1.330.
 * The room knows what lines look like and nothing of when they are due: that
 * is the engine's.
 */


#ifndef _NGX_CLAUDE_CLI_H_INCLUDED_
#define _NGX_CLAUDE_CLI_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_outbox.h"
#include "ngx_claude_turn.h"


/* the oldest CLI that knows client_composed: 2.1.260 */
#define NGX_CLAUDE_CLI_OLDEST  201260

/* the oldest one in which a plugin may change a call's headers: 2.1.328 */
#define NGX_CLAUDE_CLI_GATE    201328


/* kinds of line, by type, subtype and, of stream events, event type */
typedef enum {
    NGX_CLAUDE_CLI_OTHER = 0,
    NGX_CLAUDE_CLI_INIT,
    NGX_CLAUDE_CLI_API_RETRY,
    NGX_CLAUDE_CLI_SAYS_GATE,          /* a line of our own plugin */
    NGX_CLAUDE_CLI_MESSAGE_START,
    NGX_CLAUDE_CLI_BLOCK_START,
    NGX_CLAUDE_CLI_BLOCK_DELTA,
    NGX_CLAUDE_CLI_BLOCK_STOP,
    NGX_CLAUDE_CLI_MESSAGE_DELTA,
    NGX_CLAUDE_CLI_MESSAGE_STOP,
    NGX_CLAUDE_CLI_ASSISTANT,
    NGX_CLAUDE_CLI_USER,               /* a tool's result, taken */
    NGX_CLAUDE_CLI_RESULT,
    NGX_CLAUDE_CLI_CONTROL_REQUEST,
    NGX_CLAUDE_CLI_CONTROL_RESPONSE,
    NGX_CLAUDE_CLI_KINDS
} ngx_claude_cli_kind_e;


/* strings of a line that are kept; longer ones are cut at their limit */
typedef enum {
    NGX_CLAUDE_CLI_S_TYPE = 0,
    NGX_CLAUDE_CLI_S_SUBTYPE,
    NGX_CLAUDE_CLI_S_PLUGIN,           /* plugin, and the text of a line that
                                          it writes */
    NGX_CLAUDE_CLI_S_PLUGIN_TEXT,
    NGX_CLAUDE_CLI_S_VERSION,          /* claude_code_version */
    NGX_CLAUDE_CLI_S_EVENT_TYPE,       /* event.type */
    NGX_CLAUDE_CLI_S_BLOCK_TYPE,       /* event.content_block.type */
    NGX_CLAUDE_CLI_S_BLOCK_ID,         /* event.content_block.id */
    NGX_CLAUDE_CLI_S_BLOCK_NAME,       /* event.content_block.name */
    NGX_CLAUDE_CLI_S_DELTA_TYPE,       /* event.delta.type */
    NGX_CLAUDE_CLI_S_STOP_REASON,      /* event.delta.stop_reason */
    NGX_CLAUDE_CLI_S_STOP_SEQUENCE,    /* event.delta.stop_sequence */
    NGX_CLAUDE_CLI_S_EXPLANATION,      /* event.delta.stop_details.
                                          explanation */
    NGX_CLAUDE_CLI_S_PARENT,           /* parent_tool_use_id */
    NGX_CLAUDE_CLI_S_QUESTION,         /* user_message_uuid */
    NGX_CLAUDE_CLI_S_ERROR,            /* error of an assistant line */
    NGX_CLAUDE_CLI_S_ERROR_TYPE,       /* api_error_type, of that and of a
                                          result */
    NGX_CLAUDE_CLI_S_API_ERROR,        /* api_error of a result */
    NGX_CLAUDE_CLI_S_MODEL,            /* message.model */
    NGX_CLAUDE_CLI_S_TERMINAL,         /* terminal_reason */
    NGX_CLAUDE_CLI_S_RESULT,           /* result */
    NGX_CLAUDE_CLI_S_REQUEST_ID,       /* request_id */
    NGX_CLAUDE_CLI_S_REQUEST_SUBTYPE,  /* request.subtype */
    NGX_CLAUDE_CLI_S_RPC_METHOD,       /* request.message.method */
    NGX_CLAUDE_CLI_S_RPC_TOOL,         /* request.message.params._meta.
                                          claudecode/toolUseId */
    NGX_CLAUDE_CLI_S_RESPONSE_ID,      /* response.request_id */
    NGX_CLAUDE_CLI_S_RESPONSE_SUBTYPE, /* response.subtype */
    NGX_CLAUDE_CLI_S_RESPONSE_ERROR,   /* response.error */
    NGX_CLAUDE_CLI_S_RESPONSE_CODE,    /* response.error_code */
    NGX_CLAUDE_CLI_S_RESPONSE_MODEL,   /* response.response.model, the full
                                          id, of a set_model */
    NGX_CLAUDE_CLI_S_BINARY_VERSION,   /* response.response.version */
    NGX_CLAUDE_CLI_S_TARGET,           /* response.response.
                                          targetMessageUuid */

    /* strings that are not cut */
    NGX_CLAUDE_CLI_S_TEXT,             /* event.delta.text, .thinking,
                                          .partial_json, event.
                                          content_block.text, .thinking */
    NGX_CLAUDE_CLI_S_SIGNATURE,        /* event.delta.signature, event.
                                          content_block.signature */
    NGX_CLAUDE_CLI_S_DATA,             /* event.content_block.data */
    NGX_CLAUDE_CLI_STRINGS
} ngx_claude_cli_string_e;


/* numbers of a line; -1 where the line has none, or null */
typedef enum {
    /* usage of message_start and message_delta; and what follows SINCE_INPUT,
       in the same order */
    NGX_CLAUDE_CLI_N_INPUT = 0,
    NGX_CLAUDE_CLI_N_CACHE_READ,
    NGX_CLAUDE_CLI_N_CACHE_CREATION,
    NGX_CLAUDE_CLI_N_OUTPUT,
    NGX_CLAUDE_CLI_N_THINKING,
    NGX_CLAUDE_CLI_N_INDEX,            /* event.index, of a block */
    NGX_CLAUDE_CLI_N_STATUS,           /* api_error_status */
    NGX_CLAUDE_CLI_N_TURNS,            /* num_turns */
    NGX_CLAUDE_CLI_N_COST,             /* total_cost_usd */
    NGX_CLAUDE_CLI_N_COST_ASKED,       /* response.response.session.
                                          total_cost_usd */

    /* sums over the models of model_usage_since_last_result */
    NGX_CLAUDE_CLI_N_SINCE_INPUT,
    NGX_CLAUDE_CLI_N_SINCE_CACHE_READ,
    NGX_CLAUDE_CLI_N_SINCE_CACHE_CREATION,
    NGX_CLAUDE_CLI_N_SINCE_OUTPUT,
    NGX_CLAUDE_CLI_N_SINCE_THINKING,
    NGX_CLAUDE_CLI_N_SINCE_COST,

    NGX_CLAUDE_CLI_N_RETRY_STATUS,     /* error_status */
    NGX_CLAUDE_CLI_N_RETRY_DELAY,      /* retry_delay_ms */
    NGX_CLAUDE_CLI_N_RPC_ID,           /* request.message.id */
    NGX_CLAUDE_CLI_NUMBERS
} ngx_claude_cli_number_e;


typedef struct {
    ngx_claude_cli_kind_e             kind;
    ngx_str_t                         string[NGX_CLAUDE_CLI_STRINGS];
    double                            number[NGX_CLAUDE_CLI_NUMBERS];
    ngx_str_t                         block;         /* event.content_block
                                                        and event.delta, whole,
                                                        JSON as it came; there
                                                        may be a CR in it, and
                                                        what is no UTF-8 */
    ngx_str_t                         delta;
    ngx_str_t                         models;        /* names that response.
                                                        response.models has,
                                                        each with a LF */
    unsigned                          is_error:1;    /* a result is one */
    unsigned                          rewound:1;     /* response.response */
} ngx_claude_cli_line_t;


/* the longest list of models that is read; there are some ten */
#define NGX_CLAUDE_CLI_MODELS  2048


typedef struct ngx_claude_cli_reader_s  ngx_claude_cli_reader_t;

/* handler of a whole line, which is valid during the call */
typedef void (*ngx_claude_cli_line_pt)(void *data,
    ngx_claude_cli_line_t *line);


/*
 * A reader for all that one CLI writes in its life.  NULL: no memory.  Ends
 * with the pool.
 */
ngx_claude_cli_reader_t *ngx_claude_cli_reader(ngx_pool_t *pool,
    ngx_claude_cli_line_pt handler, void *data);

/*
 * Reads what came from the CLI, in pieces of any size.  NGX_ERROR: it is not
 * JSON, the CLI cannot be understood any more.
 */
ngx_int_t ngx_claude_cli_read(ngx_claude_cli_reader_t *reader, u_char *p,
    size_t len);

/* bytes of the line that has begun but is not complete */
size_t ngx_claude_cli_pending(ngx_claude_cli_reader_t *reader);

/* "2.1.330" gives 201330; 0: not a version */
ngx_uint_t ngx_claude_cli_version(ngx_str_t *version);

/*
 * The failures that words of the CLI mean: the error of an assistant line, a
 * result that is not an answer, a refused set_model, and a stop reason.
 * NGX_CLAUDE_FAIL_CLI: none that we know.
 */
ngx_claude_fail_e ngx_claude_cli_error(ngx_str_t *word);
ngx_claude_fail_e ngx_claude_cli_result_error(ngx_claude_cli_line_t *line);
ngx_claude_fail_e ngx_claude_cli_model_error(ngx_str_t *error,
    ngx_str_t *code);
ngx_claude_stop_e ngx_claude_cli_stop(ngx_str_t *reason);

/* whether a result says that the gate has kept the CLI from asking again */
ngx_uint_t ngx_claude_cli_denied(ngx_claude_cli_line_t *line);

/* the name of a kind of lines, for the log */
const char *ngx_claude_cli_kind(ngx_claude_cli_kind_e kind);

/*
 * Whether a failure (the line of a result, or of a refused set_model) is one
 * of the login itself, so that any other question would fail as well.
 */
ngx_uint_t ngx_claude_cli_no_login(ngx_claude_cli_line_t *line);


/*
 * Lines that the CLI takes, put into its outbox.  They refer to the strings
 * of the turn, which have to live until the outbox is empty.  All return
 * NGX_OK, or NGX_ERROR without memory.  id: of the control request, unique in
 * the life of the CLI; n, target, newest: numbers of lines, which their uuids
 * are made of, with the nonce; a number must not be used twice; server: the
 * number of the one server of tools that it is to have, 0 for none; gated:
 * the CLI has the gate, so that the effort may go as a member of the body.
 */
ngx_int_t ngx_claude_cli_initialize(ngx_claude_outbox_t *outbox,
    ngx_uint_t id);
ngx_int_t ngx_claude_cli_get_version(ngx_claude_outbox_t *outbox,
    ngx_uint_t id);
ngx_int_t ngx_claude_cli_list_models(ngx_claude_outbox_t *outbox,
    ngx_uint_t id);
ngx_int_t ngx_claude_cli_get_usage(ngx_claude_outbox_t *outbox,
    ngx_uint_t id);
ngx_int_t ngx_claude_cli_set_model(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, ngx_str_t *model, ngx_str_t *system);
ngx_int_t ngx_claude_cli_settings(ngx_claude_outbox_t *outbox, ngx_uint_t id,
    ngx_claude_turn_t *turn, ngx_uint_t gated);
ngx_int_t ngx_claude_cli_interrupt(ngx_claude_outbox_t *outbox,
    ngx_uint_t id);
ngx_int_t ngx_claude_cli_rewind(ngx_claude_outbox_t *outbox, ngx_uint_t id,
    u_char *nonce, ngx_uint_t target, ngx_uint_t newest);
ngx_int_t ngx_claude_cli_rewind_line(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, const char *uuid);
ngx_int_t ngx_claude_cli_refuse(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id);
ngx_int_t ngx_claude_cli_servers(ngx_claude_outbox_t *outbox, ngx_uint_t id,
    ngx_uint_t server);
ngx_int_t ngx_claude_cli_message(ngx_claude_outbox_t *outbox, u_char *nonce,
    ngx_claude_message_t *message, ngx_uint_t n, ngx_uint_t query);

/*
 * Answers to JSON-RPC requests of the CLI, as the server of the client's
 * tools; request_id is copied.  list: text that lives until the queue is
 * empty, as do the blocks of a result.
 */
ngx_int_t ngx_claude_cli_rpc_initialized(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc);
ngx_int_t ngx_claude_cli_rpc_empty(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc);
ngx_int_t ngx_claude_cli_rpc_tools(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc, ngx_str_t *list);
ngx_int_t ngx_claude_cli_rpc_result(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc, ngx_claude_block_t *result);

/*
 * The list of tools for the CLI, which needs no more of them than what calls
 * are routed by.  names: of ngx_str_t.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_cli_tools(ngx_pool_t *pool, ngx_array_t *names,
    ngx_str_t *list);

#define NGX_CLAUDE_UUID_LEN  36

/* the uuid of line n of the process with that nonce, its holding's */
u_char *ngx_claude_cli_uuid(u_char *p, u_char *nonce, ngx_uint_t n);


#endif /* _NGX_CLAUDE_CLI_H_INCLUDED_ */
