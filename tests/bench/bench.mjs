// What the figures share: a stack of release programs, a tenant with many users, the load programs, and how
// results are printed.
import { execFile, spawn } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { startStack } from '../../deploy/dev/stack.mjs';

export const BUILD = resolve(process.env.BUILD ?? new URL('../../build', import.meta.url).pathname);
export const USERS = 10_000;
export const user = (i) => `user-${i}`;
const run = promisify(execFile);
let machineShown = false;

export class Bench {
  constructor(name) {
    this.name = name;
    this.faults = 0;
    this.stops = [];
    this.dir = mkdtempSync(join(tmpdir(), 'belfry-bench-'));
    this.onStop(() => rmSync(this.dir, { recursive: true, force: true }));
    if (!machineShown) console.log(`Machine: ${cpus().length} cores (${cpus()[0].model}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux, Node ${process.version}`);
    machineShown = true;
    console.log(`\n${name}`);
  }

  onStop(stop) {
    this.stops.unshift(stop);
  }

  async stop() {
    this.stopping = true;
    for (const stop of this.stops) await stop();
  }

  fault(text) {
    this.faults += 1;
    console.log(`  FAULT ${text}`);
  }

  /** A line of a result; `least` or `most` says what is asked of the value. */
  figure(label, value, { least, most, unit = '', digits = 2 } = {}) {
    const asked = least !== undefined ? ` (asked: at least ${least})` : most !== undefined ? ` (asked: at most ${most})` : '';
    const short = (least !== undefined && value < least) || (most !== undefined && value > most) ? '  FALLS SHORT' : '';
    console.log(`  ${label}: ${value.toFixed(digits)}${unit}${asked}${short}`);
  }

  /** Statuses of a load: all must be among these. */
  expect(load, ...statuses) {
    for (const [status, count] of Object.entries(load.statuses)) {
      if (!statuses.includes(Number(status))) this.fault(`${count} answers with status ${status}`);
    }
  }

  async stack(options = {}) {
    this.running = await startStack({
      buildDir: BUILD,
      postgres: { shared_buffers: '512MB', max_wal_size: '4GB', checkpoint_timeout: '30min', ...options.postgres },
      env: { BELFRY_LOG: 'warning', BELFRY_RATE_SERVICE: '100000', BELFRY_RATE_USER: '100000', ...options.env },
      ...Object.fromEntries(Object.entries(options).filter(([key]) => key !== 'postgres' && key !== 'env')),
    });
    this.onStop(() => this.running.stop());
    return this.running;
  }

  tenant(options) {
    return createTenant(this.running, 'bench', { accounts: false, ...options });
  }

  file(name, content) {
    const path = join(this.dir, name);
    writeFileSync(path, content);
    return path;
  }

  /** A closed loop over raw requests. */
  async load(address, connections, seconds, requests) {
    const file = this.file('requests', requests.map((request) => `${request}\0`).join(''));
    const { stdout } = await run(join(BUILD, 'bench/load'), [address, String(connections), String(seconds), file]);
    return JSON.parse(stdout);
  }

  ended(name, code, signal) {
    if (this.stopping || code === 0) return;
    console.error(`${name} ended with ${signal ?? code}`);
    process.exit(1);
  }

  program(name, args, options) {
    const child = spawn(join(BUILD, 'bench', name), args.map(String), { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    child.on('exit', (code, signal) => this.ended(name, code, signal));
    this.onStop(() => child.kill());
    return child;
  }
}

/** Settings of the web server that answer /empty from the reference program, with as many threads as belfry-api. */
export const emptyAnswers = (bench) => `fastcgi.server += ("/empty" => (("bin-path" => "${join(BUILD, 'bench/empty')} --threads 8", "socket" => "${join(bench.dir, 'empty.sock')}", "max-procs" => 1, "check-local" => "disable")))\n`;

export const address = (stack) => new URL(stack.url).host;

export function get(path, headers = {}) {
  return request('GET', path, headers);
}

export function post(path, headers, body) {
  return request('POST', path, { 'Content-Type': 'application/json', ...headers }, JSON.stringify(body));
}

function request(method, path, headers, body = '') {
  const lines = Object.entries({ Host: 'bench', ...headers, ...(body ? { 'Content-Length': Buffer.byteLength(body) } : {}) });
  return `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}

/** Runs `work(i)` for 0 … count-1, so many at once. */
export async function forEach(count, atOnce, work) {
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next < count) await work(next++);
  }));
}

/** Private memory of a process, kB. */
export function privateKb(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)[1]);
  return field('Private_Clean') + field('Private_Dirty');
}

/** One notification to many users at a time, through the API. */
export async function sendToAll(tenant, count, title, extra = {}) {
  for (let first = 0; first < count; first += 1000) {
    const to = Array.from({ length: Math.min(1000, count - first) }, (_, i) => user(first + i));
    const answer = await tenant.service('POST', '/notifications', { to, title, ...extra });
    if (answer.status !== 202) throw new Error(`a send to ${to.length} users was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  }
}
