
/*
 * Tables that an enum indexes.  Each entry says which value it is of, with
 * "[VALUE] = ...", and a value that was added and has no entry at the end does
 * not compile.
 */


#ifndef _NGX_CLAUDE_TABLE_H_INCLUDED_
#define _NGX_CLAUDE_TABLE_H_INCLUDED_


#define ngx_claude_table_check(table, n)                                      \
    _Static_assert(sizeof(table) / sizeof((table)[0]) == (n),                 \
                   #table " has no entry for some value")


#endif /* _NGX_CLAUDE_TABLE_H_INCLUDED_ */
