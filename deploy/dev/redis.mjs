// A private Redis on a unix socket: a cache that may vanish, so nothing is written to disk.
//
// Belfry's programs are the user "belfry", who may do what they need and nothing administrative, as
// in production. Whoever develops is the default user, who may do everything.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { directLauncher } from './launch.mjs';
import { Service } from './service.mjs';

const BELFRY_MAY = '~* &* -@all +@read +@write +@pubsub +@connection +@transaction +eval +evalsha +script|load -@dangerous';

/** The service, with `address` for developers and `programAddress` for Belfry's programs. */
export function makeRedis({ dir, socket, logFile, maxMemory = '128mb' }) {
  const secretFile = join(dir, 'redis.secret');
  if (!existsSync(secretFile)) writeFileSync(secretFile, randomBytes(24).toString('hex'), { mode: 0o600 });
  const secret = readFileSync(secretFile, 'utf8');
  const aclFile = join(dir, 'redis.acl');
  writeFileSync(aclFile, `user default on nopass ~* &* +@all\nuser belfry on >${secret} ${BELFRY_MAY}\n`, { mode: 0o600 });
  const configFile = join(dir, 'redis.conf');
  writeFileSync(configFile, [
    'port 0', `unixsocket "${socket}"`, 'unixsocketperm 777', `dir "${dir}"`, `aclfile "${aclFile}"`,
    `maxmemory ${maxMemory}`, 'maxmemory-policy volatile-lru', 'save ""', 'appendonly no', 'daemonize no',
    'maxclients 2000', '',
  ].join('\n'));
  const service = new Service({
    name: 'redis',
    logFile,
    launch: directLauncher({
      command: ['redis-server', configFile],
      env: { PATH: process.env.PATH, LANG: 'C.UTF-8' }, cwd: dir, logFile,
    }),
    ready: () => ping(socket),
  });
  service.address = `unix:${socket}`;
  service.programAddress = `belfry:${secret}@unix:${socket}`;
  return service;
}

function ping(socket) {
  return new Promise((resolve) => {
    const connection = net.connect(socket, () => connection.write('PING\r\n'));
    const end = (answer) => {
      connection.destroy();
      resolve(answer);
    };
    connection.once('data', (data) => end(data.toString().startsWith('+PONG')));
    connection.once('error', () => end(false));
    connection.setTimeout(1000, () => end(false));
  });
}
