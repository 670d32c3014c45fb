// A transaction pooler between Belfry's programs and PostgreSQL, for tests: sessions hold no state.
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import net from 'node:net';
import { directLauncher } from './launch.mjs';
import { PORT, SUPERUSER } from './postgres.mjs';
import { Service } from './service.mjs';

const USERS = [SUPERUSER, 'belfry_api', 'belfry_worker', 'belfry_scheduler', 'belfry_operator'];

/** The service; conninfo(user) goes through it. Its socket is in socketDir. */
export function makePgbouncer({ dir, socketDir, logFile, postgresSocketDir, as }) {
  mkdirSync(dir, { recursive: true });
  mkdirSync(socketDir, { recursive: true });
  const usersFile = join(dir, 'users.txt');
  writeFileSync(usersFile, USERS.map((user) => `"${user}" ""\n`).join(''));
  const configFile = join(dir, 'pgbouncer.ini');
  writeFileSync(configFile, `[databases]
* = host=${postgresSocketDir} port=${PORT}
[pgbouncer]
listen_addr =
unix_socket_dir = ${socketDir}
listen_port = ${PORT}
auth_type = trust
auth_file = ${usersFile}
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
`);
  writeFileSync(logFile, '', { flag: 'a' });
  if (as) [dir, socketDir, logFile].forEach((path) => chownSync(path, as.uid, as.gid));
  const service = new Service({
    name: 'pgbouncer',
    logFile,
    launch: directLauncher({
      command: ['pgbouncer', configFile], env: { PATH: `${process.env.PATH}:/usr/sbin` }, cwd: '/', logFile, as,
    }),
    ready: () => connects(join(socketDir, `.s.PGSQL.${PORT}`)),
    stopSignals: [['SIGINT', 3000], ['SIGTERM', 3000]],
  });
  service.conninfo = (user, database = 'belfry') => `host=${socketDir} port=${PORT} dbname=${database} user=${user}`;
  return service;
}

function connects(socket) {
  return new Promise((resolve) => {
    const connection = net.connect(socket, () => resolve(connection.destroy() && true));
    connection.once('error', () => resolve(false));
  });
}
