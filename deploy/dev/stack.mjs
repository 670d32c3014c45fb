// A private Belfry with all that it needs: PostgreSQL, Redis, belfry-api, belfry-worker,
// belfry-scheduler and a web server, in one directory, on ports and sockets of its own. `make run`
// is one of these; tests and benchmarks start as many as they like.
//
//   import { startStack } from '../../deploy/dev/stack.mjs';
//   import { startPostbox } from '../postbox/index.mjs';
//   const postbox = await startPostbox();
//   const stack = await startStack({ postbox });          // see DEFAULTS for the options
//   const shop = await createTenant(stack, 'shop');        // tenant.mjs: key, issuer, accounts
//   await fetch(`${stack.url}/api/v1/notifications`, ...);
//   stack.sql('select count(*) from belfry.notification'); // as the superuser
//   stack.ctl('queue', '--json');                          // belfryctl
//   stack.kill('worker');  await stack.until(() => stack.pids().worker, 'worker is back');
//   await stack.stopService('redis'); await stack.startService('redis');
//   await stack.replace('api');                            // new process first, then the old one ends
//   await stack.stop();
//
// Names of services: postgres, redis, pgbouncer, api (api2, api3 ... with apiProcs), worker
// (worker2 ...), scheduler (scheduler2 ...), web.
// Promises: the web server starts first, for it claims the port; the others start in that order and stop
// in the opposite one; what dies is back within 1 s; a failed start says whose, and shows the end of its
// log; what it leaves in `dir` a next start continues from. One more service: a file like redis.mjs and
// a line in start().
import { execFileSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createHash } from 'node:crypto';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { directLauncher, holdSocket, isReachable } from './launch.mjs';
import { makePgbouncer } from './pgbouncer.mjs';
import { makePostgres, SUPERUSER } from './postgres.mjs';
import { makeRedis } from './redis.mjs';
import { Service, tail, until } from './service.mjs';
import { isCgi, makeWeb, WEB_SERVERS } from './web.mjs';

const ROOT = new URL('../..', import.meta.url).pathname;
const SOCKET_PATH_BYTES_MAX = 107; // sockaddr_un holds 108 with its NUL
const LONGEST_SOCKET_NAME = '/pooler/.s.PGSQL.5432.lock';
const PORT_TRIES_MAX = 10;

const DEFAULTS = {
  dir: null, // all data and logs; null: a temporary one that stop() removes (unless KEEP=1 is set)
  buildDir: process.env.BUILD ?? join(ROOT, 'build'), // where the programs are
  webServer: 'lighttpd', // one of WEB_SERVERS
  host: '127.0.0.1',
  port: 0, // 0: a free one
  preferPort: 0, // taken if nobody else has it, where `port` is 0
  apiProcs: 1,
  workers: 1,
  schedulers: 1,
  pooler: false, // Belfry's programs reach PostgreSQL through PgBouncer in transaction mode
  postbox: null, // of startPostbox(): its CA is trusted, createTenant() makes accounts there
  env: {}, // for all of Belfry's programs
  apiEnv: {},
  workerEnv: {},
  schedulerEnv: {},
  postgres: {}, // settings for postgresql.conf
  redisMemory: '128mb',
  files: {}, // {'/path': file} that the web server serves besides www/
  connect: [], // further origins that pages may talk to
  webSettings: '', // further lines for the web server's configuration, or a function of the stack that gives them
  restart: true, // what dies is started again
  say: () => {}, // progress, for people
  created: () => {}, // gets the stack before anything is started, to stop() it early
};

/** Starts everything; resolves when /readyz answers 200. On failure nothing is left running. */
export async function startStack(options = {}) {
  const stack = new Stack({ ...DEFAULTS, ...options });
  stack.options.created(stack);
  try {
    await stack.start();
  } catch (error) {
    await stack.stop().catch(() => {});
    throw error;
  }
  return stack;
}

/** The preferred port if nobody has it, else a free one; 0: any free one. */
export async function findPort(host, preferred = 0) {
  const attempt = (port) => new Promise((resolvePort, reject) => {
    const server = net.createServer().once('error', reject);
    server.listen({ port, host }, () => {
      const { port: found } = server.address();
      server.close(() => resolvePort(found));
    });
  });
  return attempt(preferred).catch(() => attempt(0));
}

class Stack extends EventEmitter {
  #services = new Map();
  #holders = [];
  #stopping = null;

  constructor(options) {
    super();
    this.options = options;
    this.temporary = options.dir === null;
    this.dir = this.temporary ? mkdtempSync(join(tmpdir(), 'belfry-')) : resolve(options.dir);
    this.buildDir = resolve(options.buildDir);
    if (!WEB_SERVERS.includes(options.webServer)) throw new Error(`webServer must be one of ${WEB_SERVERS.join(', ')}`);
  }

  async start() {
    const { host, say } = this.options;
    mkdirSync(join(this.dir, 'log'), { recursive: true });
    if (this.temporary) chmodSync(this.dir, 0o755);
    this.sockets = socketDirectory(this.dir);
    this.keysFile = join(this.dir, 'keys');
    this.apiSocket = join(this.sockets, 'api.sock');

    const postgres = this.#add(makePostgres({
      dir: join(this.dir, 'postgres'), socketDir: join(this.sockets, 'pg'), logFile: this.#log('postgres'),
      settings: this.options.postgres,
    }));
    const redis = this.#add(makeRedis({
      dir: this.dir, socket: join(this.sockets, 'redis.sock'), logFile: this.#log('redis'), maxMemory: this.options.redisMemory,
    }));
    this.db = postgres.url(SUPERUSER);
    this.redis = redis.address;
    const pooler = this.options.pooler ? this.#add(this.#makePooler()) : null;
    await this.#startWeb(host);
    await this.#startOne(postgres);
    await this.#startOne(redis);
    await this.#prepareDatabase();
    if (pooler) await this.#startOne(pooler);
    for (const service of this.#makePrograms()) await this.#startOne(service);
    say(`Waiting for ${this.url}/readyz`);
    await until(() => this.#isReady(), `${this.url}/readyz did not answer 200`).catch((error) => {
      throw new Error(`${error.message}; the end of ${this.#log('api')}:\n${tail(this.#log('api'))}\n${tail(this.#log('web'))}`);
    });
  }

  // A port that was free a moment ago may be somebody else's now: then another one, unless it was asked for.
  async #startWeb(host) {
    const { port, preferPort, webServer } = this.options;
    for (let tries = 1; ; tries += 1) {
      this.port = port || await findPort(host, tries === 1 ? preferPort : 0);
      this.url = `http://${host}:${this.port}`;
      const web = this.#add(this.#makeWeb(webServer));
      try {
        return await this.#startOne(web);
      } catch (error) {
        if (port || tries === PORT_TRIES_MAX || this.#stopping) throw error;
        await web.stop();
      }
    }
  }

  #log(name) {
    return join(this.dir, 'log', `${name}.log`);
  }

  #add(service) {
    service.restart = this.options.restart;
    service.on('change', () => this.emit('change'));
    service.on('exit', (exit) => this.emit('exit', exit));
    this.#services.set(service.name, service);
    return service;
  }

  async #startOne(service) {
    if (this.#stopping) throw new Error('it is being stopped');
    this.options.say(`Starting ${service.name}`);
    await service.start();
  }

  async #isReady() {
    const response = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(3000) });
    await response.text();
    return response.status === 200;
  }

  // The key ring, the database and its tables. Everything here may be repeated.
  async #prepareDatabase() {
    const postgres = this.service('postgres');
    if (postgres.sql("select count(*) from pg_database where datname = 'belfry'", 'postgres') === '0') {
      postgres.sql('create database belfry', 'postgres');
    }
    if (!existsSync(this.keysFile)) this.ctl('keys', 'init', this.keysFile);
    this.options.say('Migrating the database');
    this.ctlAs(SUPERUSER, 'migrate');
  }

  #makePooler() {
    return makePgbouncer({
      dir: join(this.dir, 'pgbouncer'), socketDir: join(this.sockets, 'pooler'), logFile: this.#log('pgbouncer'),
      postgresSocketDir: join(this.sockets, 'pg'), as: this.service('postgres').as,
    });
  }

  /** The environment of one of Belfry's programs that connects as this role. */
  env(role) {
    const { pooler, env, postbox } = this.options;
    const database = this.service(pooler ? 'pgbouncer' : 'postgres');
    const inherited = ['PATH', 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS', 'BELFRY_LOG'];
    return {
      ...Object.fromEntries(inherited.filter((name) => process.env[name]).map((name) => [name, process.env[name]])),
      LANG: 'C.UTF-8',
      BELFRY_DB: database.conninfo(role),
      ...(pooler ? { BELFRY_DB_PREPARE: 'off' } : {}),
      BELFRY_REDIS: this.service('redis').programAddress,
      BELFRY_KEYS_FILE: this.keysFile,
      BELFRY_PUBLIC_URL: this.url,
      BELFRY_PRIVATE_ADDRESSES: 'allow',
      ...(postbox ? { BELFRY_CA_FILE: postbox.caFile } : {}),
      ...env,
    };
  }

  #makePrograms() {
    const { apiProcs, workers, schedulers, webServer, apiEnv, workerEnv, schedulerEnv } = this.options;
    const numbered = (name, count, make) => Array.from({ length: count }, (_, i) => make(i === 0 ? name : `${name}${i + 1}`));
    const api = isCgi(webServer) ? [] : this.#makeApi(apiProcs, { ...this.env('belfry_api'), ...apiEnv });
    const others = [
      ...numbered('worker', workers, (name) => this.#program(name, 'belfry-worker', { ...this.env('belfry_worker'), ...workerEnv })),
      ...numbered('scheduler', schedulers, (name) => this.#program(name, 'belfry-scheduler', { ...this.env('belfry_scheduler'), ...schedulerEnv })),
    ];
    return [...api, ...others].map((service) => this.#add(service));
  }

  // All handlers share one listening socket, which is there before the first and after the last.
  #makeApi(count, env) {
    const logFile = this.#log('api');
    const holder = holdSocket({
      socket: this.apiSocket, command: [join(this.buildDir, 'belfry-api')], env, cwd: this.dir, logFile,
    });
    this.#holders.push(holder);
    return Array.from({ length: count }, (_, i) => {
      const name = i === 0 ? 'api' : `api${i + 1}`;
      return new Service({ name, logFile, launch: holder.launcher(name) });
    });
  }

  #program(name, program, env) {
    const logFile = this.#log(name);
    const launch = directLauncher({ command: [join(this.buildDir, program)], env, cwd: this.dir, logFile });
    return new Service({ name, logFile, launch });
  }

  #makeWeb(webServer) {
    const { host, files, connect, webSettings, apiEnv } = this.options;
    return makeWeb(webServer, {
      dir: join(this.dir, 'web'), socketDir: join(this.sockets, 'web'), host, port: this.port, www: join(ROOT, 'www'), logFile: this.#log('web'),
      socket: this.apiSocket, program: join(this.buildDir, 'belfry-api'),
      programEnv: { ...this.env('belfry_api'), ...apiEnv }, files, connect,
      settings: typeof webSettings === 'function' ? webSettings(this) : webSettings,
    });
  }

  service(name) {
    const service = this.#services.get(name);
    if (!service) throw new Error(`there is no service called ${name}; there are: ${[...this.#services.keys()].join(', ')}`);
    return service;
  }

  /** {postgres: 1234, redis: ..., api: ..., web: ...}: those that run now. */
  pids() {
    return Object.fromEntries([...this.#services.values()].filter((s) => s.pid !== null).map((s) => [s.name, s.pid]));
  }

  /** Sends a signal (SIGKILL) to a service and gives its pid; it is started again if it ends. */
  kill(name, signal = 'SIGKILL') {
    return this.service(name).kill(signal);
  }

  /** Ends a service in good order; it stays away until startService(). */
  stopService(name) {
    return this.service(name).stop();
  }

  startService(name) {
    return this.service(name).start();
  }

  /** As a deployment would: handlers overlap on their inherited socket, others end and start. */
  replace(name) {
    return this.service(name).replace({ overlap: name.startsWith('api') });
  }

  until(condition, what, deadlineMs) {
    return until(condition, what, deadlineMs);
  }

  /** The end of a service's log. */
  logTail(name) {
    return tail(this.#log(name));
  }

  /** Runs SQL as the superuser; gives what psql prints, unaligned and without headings. */
  sql(text, database = 'belfry') {
    return this.service('postgres').sql(text, database);
  }

  /** A libpq connection string of a role: of the pooler if there is one. */
  conninfo(role = SUPERUSER) {
    return this.service('postgres').conninfo(role);
  }

  /** Runs belfryctl as the operator; gives its output, parsed if it is JSON. Throws with its error. */
  ctl(...words) {
    return this.ctlAs('belfry_operator', ...words);
  }

  ctlAs(role, ...words) {
    const env = { ...this.env(role), BELFRY_DB: this.conninfo(role) };
    let output;
    try {
      output = execFileSync(join(this.buildDir, 'belfryctl'), words, {
        env, cwd: this.dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 * 1024 * 1024,
      });
    } catch (error) {
      throw new Error(`belfryctl ${words.join(' ')}: ${error.stderr || error.message}`);
    }
    try {
      return JSON.parse(output);
    } catch {
      return output;
    }
  }

  /** Ends everything, in order; repeated calls wait for the first. */
  stop() {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll() {
    const named = (prefixOfName) => [...this.#services.values()].filter((s) => s.name.startsWith(prefixOfName));
    // The web server takes no more and waits for what the handlers still answer.
    await stopTogether([...named('web'), ...named('api')]);
    await Promise.all(this.#holders.map((holder) => holder.close()));
    await stopTogether([...named('worker'), ...named('scheduler')]);
    for (const name of ['pgbouncer', 'redis', 'postgres']) await stopTogether(named(name));
    if (this.sockets && this.sockets !== join(this.dir, 'sock')) rmSync(this.sockets, { recursive: true, force: true });
    if (this.temporary && !process.env.KEEP) rmSync(this.dir, { recursive: true, force: true });
  }
}

const stopTogether = (services) => Promise.all(services.map((service) => service.stop()));

// Sockets are in the stack's directory if its path is short enough for a socket address and every
// user may walk there, else in a directory of /tmp that is named after it.
function socketDirectory(dir) {
  const inside = join(dir, 'sock');
  const fits = Buffer.byteLength(inside + LONGEST_SOCKET_NAME) <= SOCKET_PATH_BYTES_MAX;
  const path = fits && isReachable(join(inside, 'x'))
    ? inside : `/tmp/belfry-${process.getuid()}-${createHash('sha256').update(dir).digest('hex').slice(0, 12)}`;
  mkdirSync(path, { recursive: true });
  const { uid } = statSync(path);
  if (uid !== process.getuid()) throw new Error(`${path} belongs to somebody else`);
  chmodSync(path, 0o711);
  return path;
}
