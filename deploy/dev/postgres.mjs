// A private PostgreSQL: a cluster in a directory, reachable only by a unix socket in a directory that
// is ours, where everybody is trusted. Durable as in production, for that is what we promise.
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { directLauncher, prefix, unprivileged } from './launch.mjs';
import { Service } from './service.mjs';

export const PORT = 5432; // only names the socket file
export const SUPERUSER = 'postgres';
const SETTINGS = {
  listen_addresses: '',
  max_connections: 200,
  shared_buffers: '256MB',
  max_wal_size: '2GB',
  min_wal_size: '256MB',
  checkpoint_timeout: '10min',
  random_page_cost: 1.1,
  jit: 'off',
  log_min_duration_statement: '2s',
  log_line_prefix: '%m [%p] %q%u@%d ',
  log_timezone: 'UTC',
  timezone: 'UTC',
  fsync: 'on',
  synchronous_commit: 'on',
};

/** The directory of PostgreSQL's programs: Debian's newest, else wherever `initdb` is. */
export function postgresBin() {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
  const newest = versions.filter((v) => existsSync(`/usr/lib/postgresql/${v}/bin/initdb`)).sort((a, b) => b - a)[0];
  if (newest) return `/usr/lib/postgresql/${newest}/bin`;
  return execFileSync('pg_config', ['--bindir'], { encoding: 'utf8' }).trim();
}

/**
 * The service of a cluster in `dir`, made there if there is none yet, listening in `socketDir`.
 * `settings` adds to and overrides those above. Also gives conninfo(user, database) and url(user,
 * database), two spellings of a libpq connection string; the second has no spaces.
 */
export function makePostgres({ dir, socketDir, logFile, settings = {} }) {
  const bin = postgresBin();
  const as = unprivileged(['postgres', 'nobody'], [dir, socketDir]);
  const data = join(dir, 'data');
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  mkdirSync(socketDir, { recursive: true });
  if (as) [dir, socketDir].forEach((path) => chownSync(path, as.uid, as.gid));
  chmodSync(socketDir, 0o711); // whoever starts the stack can look in; others cannot list it
  if (as) chownSync(touch(logFile), as.uid, as.gid);
  if (!existsSync(data)) initialize({ bin, as, data, dir });

  const all = { ...SETTINGS, unix_socket_directories: socketDir, port: PORT, ...settings };
  const options = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const service = new Service({
    name: 'postgres',
    logFile,
    launch: directLauncher({
      command: [join(bin, 'postgres'), '-D', data, ...options],
      env: { PATH: process.env.PATH, LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8' },
      cwd: '/', logFile, deathSignal: 'INT', as,
    }),
    ready: async () => isReady(data, service.pid),
    stopSignals: [['SIGINT', 30_000], ['SIGQUIT', 10_000]],
  });
  service.conninfo = (user, database = 'belfry') => `host=${socketDir} port=${PORT} dbname=${database} user=${user}`;
  service.url = (user, database = 'belfry') => `postgresql://${user}@${encodeURIComponent(socketDir)}:${PORT}/${database}`;
  service.sql = (text, database = 'belfry') => psql({ bin, socketDir, database, text });
  service.bin = bin;
  service.as = as;
  return service;
}

function touch(file) {
  writeFileSync(file, '', { flag: 'a' });
  return file;
}

// A cluster appears whole or not at all: an interrupted initdb leaves only data.new.
function initialize({ bin, as, data, dir }) {
  rmSync(`${data}.new`, { recursive: true, force: true });
  const [program, ...words] = [...prefix({ as }), join(bin, 'initdb'), '-D', `${data}.new`, '-U', SUPERUSER,
    '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--data-checksums'];
  try {
    execFileSync(program, words, { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    throw new Error(`could not make a PostgreSQL cluster in ${dir}: ${error.stderr}`);
  }
  renameSync(`${data}.new`, data);
}

// The last line of postmaster.pid says how far the server is; the first, whose file it is.
function isReady(data, pid) {
  const lines = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n');
  return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
}

function psql({ bin, socketDir, database, text }) {
  return execFileSync(join(bin, 'psql'), ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', socketDir,
    '-p', String(PORT), '-U', SUPERUSER, '-d', database, '-f', '-'], { input: text, encoding: 'utf8' }).trim();
}
