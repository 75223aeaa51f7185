/* What the suites' library is told by the test command, for a soak that is called by itself. */

import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

const findNginx = () => [...process.env.PATH.split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin']
    .map((dir) => join(dir, 'nginx')).find((file) => existsSync(file)) ?? 'nginx';

/* To be called before the library is imported. Returns a new directory for nginx. */
export function prepare({ name, claude = join(ROOT, 't/bin/claude') }) {
    const servroot = mkdtempSync(join(tmpdir(), `${name}-`));
    Object.assign(process.env, {
        TEST_ROOT: ROOT,
        TEST_CLAUDE_BINARY: claude,
        TEST_NGINX_BINARY: process.env.NGINX ?? findNginx(),
        TEST_NGINX_LOAD_MODULES: process.env.MODULE ?? join(ROOT, 'build/ngx_http_claude_module.so'),
        TEST_NGINX_SERVROOT: servroot,
        TEST_NGINX_PORT: '0',
    });
    return servroot;
}
