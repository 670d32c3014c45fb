// A private PostgreSQL with Belfry's schema, for tests that need no web server: roles, connections with the settings
// that row-level security looks at, belfryctl, and schedulers.
//
//   const db = await startDatabase();
//   await db.as('belfry_api', { tenant: 1, user: 'u1' }, (c) => c.query('select ...'));   // one transaction
//   db.ctl('tenant', 'create', 'shop', '--json');
//   const scheduler = await db.startScheduler();  await scheduler.stop();
//   await db.stop();
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { directLauncher } from '../deploy/dev/launch.mjs';
import { makePostgres, SUPERUSER } from '../deploy/dev/postgres.mjs';
import { Service, tail, until } from '../deploy/dev/service.mjs';

const ROOT = new URL('..', import.meta.url).pathname;
export const BUILD = process.env.BUILD ?? join(ROOT, 'build');

/** {migrate: false} leaves the database empty. */
export async function startDatabase({ migrate = true, settings = {} } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'belfry-db-'));
  chmodSync(dir, 0o755);
  const postgres = makePostgres({ dir: join(dir, 'pg'), socketDir: join(dir, 's'), logFile: join(dir, 'postgres.log'), settings });
  const db = new Database(dir, postgres);
  try {
    await postgres.start();
    postgres.sql('create database belfry', 'postgres');
    db.ctl('keys', 'init', db.keysFile);
    if (migrate) db.ctlAs(SUPERUSER, 'migrate');
  } catch (error) {
    await db.stop();
    throw error;
  }
  return db;
}

class Database {
  #pools = new Map();
  #schedulers = [];

  constructor(dir, postgres) {
    Object.assign(this, { dir, postgres, keysFile: join(dir, 'keys') });
  }

  conninfo(role = SUPERUSER, database = 'belfry') {
    return this.postgres.conninfo(role, database);
  }

  env(role, database) {
    const { PATH, ASAN_OPTIONS, UBSAN_OPTIONS } = process.env;
    return { PATH, ...(ASAN_OPTIONS && { ASAN_OPTIONS }), ...(UBSAN_OPTIONS && { UBSAN_OPTIONS }), BELFRY_DB: this.conninfo(role, database), BELFRY_KEYS_FILE: this.keysFile };
  }

  /** Runs SQL as the superuser; gives what psql prints. */
  sql(text, database) {
    return this.postgres.sql(text, database);
  }

  /** belfryctl as a role; gives its output, parsed if it is JSON. Throws with its error and status. */
  ctlAs(role, ...words) {
    try {
      const output = execFileSync(join(BUILD, 'belfryctl'), words, { env: this.env(role), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
      return output.startsWith('{') ? JSON.parse(output) : output;
    } catch (error) {
      throw Object.assign(new Error(`belfryctl ${words.join(' ')}: ${error.stderr || error.message}`), { status: error.status });
    }
  }

  ctl(...words) {
    return this.ctlAs('belfry_operator', ...words);
  }

  /** belfryctl beside us: resolves with {status, stdout, stderr}. */
  async ctlAsync(role, words, { database, binary = join(BUILD, 'belfryctl') } = {}) {
    const child = spawn(binary, words, { env: this.env(role, database), stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => (stdout += chunk));
    child.stderr.on('data', (chunk) => (stderr += chunk));
    const [status] = await once(child, 'close');
    return { status, stdout, stderr };
  }

  #pool(role) {
    if (!this.#pools.has(role)) {
      const pool = new pg.Pool({ host: join(this.dir, 's'), port: 5432, user: role, database: 'belfry', max: 4 });
      pool.on('error', () => {});
      this.#pools.set(role, pool);
    }
    return this.#pools.get(role);
  }

  /** work(client) in one transaction of a role, for a tenant and user if given; rolled back if `commit` is false. */
  async as(role, { tenant = '', user = '', commit = true } = {}, work) {
    const client = await this.#pool(role).connect();
    try {
      await client.query('begin');
      await client.query("select set_config('belfry.tenant', $1, true), set_config('belfry.user', $2, true)", [String(tenant), user]);
      const result = await work(client);
      await client.query(commit ? 'commit' : 'rollback');
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => {});
      throw error;
    } finally {
      client.release();
    }
  }

  /** Rows of one statement as the superuser. */
  async rows(text, values) {
    return (await this.#pool(SUPERUSER).query(text, values)).rows;
  }

  async one(text, values) {
    return (await this.rows(text, values))[0];
  }

  /** A belfry-scheduler: {pid, log(), kill(signal), stop()}. */
  async startScheduler(env = {}) {
    const logFile = join(this.dir, `scheduler${this.#schedulers.length}.log`);
    const service = new Service({
      name: 'scheduler', logFile, restart: false,
      launch: directLauncher({ command: [join(BUILD, 'belfry-scheduler')], env: { ...this.env('belfry_scheduler'), ...env }, cwd: this.dir, logFile }),
      ready: async () => tail(logFile).includes('scheduler started'),
    });
    this.#schedulers.push(service);
    await service.start();
    service.log = () => tail(logFile);
    return service;
  }

  until(condition, what, deadlineMs) {
    return until(condition, what, deadlineMs).catch((error) => {
      throw new Error(`${error.message}\n${this.#schedulers.map((s) => tail(s.logFile)).join('\n')}`);
    });
  }

  async stop() {
    await Promise.all(this.#schedulers.map((scheduler) => scheduler.stop()));
    await Promise.all([...this.#pools.values()].map((pool) => pool.end()));
    await this.postgres.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
