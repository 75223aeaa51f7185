/*
 * What a box of bubblewrap needs around it: another user than root, whose boxes are another matter,
 * and the recipe with the CLI of the tests in place of the one that stands there.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './server.mjs';

const AS_ROOT = process.getuid() === 0;
const [UID, GID] = ['-u', '-g'].map((what) => Number(spawnSync('id', AS_ROOT ? [what, 'nobody'] : [what], { encoding: 'utf8' }).stdout));

/* The workers' user and group, where we may choose. */
export const USER = AS_ROOT ? `nobody ${spawnSync('id', ['-gn', 'nobody'], { encoding: 'utf8' }).stdout.trim()}` : undefined;

/* Gives a file or directory to the workers' user. */
export function give(path) {
    if (AS_ROOT) chownSync(path, UID, GID);
}

/* What a server has in its directory is the workers' user's to use. */
export function ownHome(dir) {
    if (AS_ROOT) spawnSync('chown', ['-R', `${UID}:${GID}`, ...['home', 'temp', 'cwd'].map((name) => join(dir, name)).filter(existsSync)]);
}

/* Why that user can have no box, or false. */
function why() {
    const box = ['bwrap', '--unshare-user', '--unshare-pid', '--ro-bind', '/', '/', '--proc', '/proc', 'true'];
    const as = AS_ROOT ? ['setpriv', '--reuid', `${UID}`, '--regid', `${GID}`, '--clear-groups', ...box] : box;
    const { error, status, stderr } = spawnSync(as[0], as.slice(1), { encoding: 'utf8' });
    if (error) return `no ${as[0]}`;
    if (status !== 0) return `no bubblewrap here: ${(stderr || 'it fails').trim().split('\n')[0]}`;
    return spawnSync('socat', ['-V']).error ? 'no socat' : false;
}

export const NO_BOX = why();

/*
 * The recipe in a directory, for a CLI; its path. beside: a directory that each box has, as /usr, in
 * which Debian's state path lies.
 */
export function writeBox(dir, claude, beside) {
    const file = join(dir, 'claude-in-a-box');
    const text = readFileSync(join(ROOT, 'conf/examples/claude-in-a-box'), 'utf8');
    const usr = '--ro-bind /usr /usr';
    writeFileSync(file, text.replace(/^claude=.*$/m, `claude=${claude}`)
        .replace(usr, beside ? `${usr} --ro-bind ${beside} ${beside}` : usr));
    chmodSync(file, 0o755);
    return file;
}
