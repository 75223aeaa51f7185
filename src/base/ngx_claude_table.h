
/*
 * Tables that an enum indexes: written with designated initializers, and of
 * the enum's length, or nothing is built.
 */


#ifndef _NGX_CLAUDE_TABLE_H_INCLUDED_
#define _NGX_CLAUDE_TABLE_H_INCLUDED_


#define ngx_claude_table_check(table, n)                                      \
    typedef char  table ## _check[                                            \
                      (sizeof(table) / sizeof(table[0]) == (n)) ? 1 : -1]


#endif /* _NGX_CLAUDE_TABLE_H_INCLUDED_ */
