// One program that runs beside us: started, watched, started again when it dies, stopped in order.
//
// Promises: a service that dies is launched again at once, and when it dies again right away after a
// pause that grows to at most RESTART_MS_MAX, so always within 1 s. Nothing here sleeps as a proof:
// readiness is a condition that is asked until it holds, with a deadline, and an error carries the
// end of the program's log.
import { EventEmitter } from 'node:events';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const RESTART_MS_MAX = 800;
const STEADY_MS = 5000; // a program that lived this long did not die of its start
const READY_MS = 60_000;
const ASK_AGAIN_MS = 25;
const TAIL_BYTES = 4000;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the answer is true; rejects with `what` after the deadline. */
export async function until(condition, what, deadlineMs = READY_MS) {
  const end = Date.now() + deadlineMs;
  let last = null;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what} within ${deadlineMs} ms${last ? ` (${last.message})` : ''}`);
    await pause(ASK_AGAIN_MS);
  }
}

/** The end of a log file, for people. */
export function tail(file) {
  try {
    const fd = openSync(file, 'r');
    const size = fstatSync(fd).size;
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
    readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    closeSync(fd);
    return buffer.toString('utf8');
  } catch {
    return '(no log)';
  }
}

export class Service extends EventEmitter {
  #launch;
  #wanted = false;
  #pids = new Set(); // during a replacement two
  #startedAt = 0;
  #quickDeaths = 0;
  #timer = null;

  /**
   * name, logFile; launch(onExit) → pid (launch.mjs); ready() → boolean, asked after each start;
   * stopSignals [[signal, ms to wait], ...], after which SIGKILL; restart: false leaves it dead.
   */
  constructor({ name, logFile, launch, ready = async () => true, stopSignals = [['SIGTERM', 15_000]], restart = true }) {
    super();
    Object.assign(this, { name, logFile, ready, stopSignals, restart });
    this.#launch = launch;
    this.pid = null;
  }

  isRunning() {
    return this.#pids.size > 0;
  }

  /** Resolves when it is ready. */
  async start() {
    this.#wanted = true;
    await this.#spawn();
    await this.waitReady();
  }

  async waitReady() {
    const deaths = this.#quickDeaths;
    await until(() => {
      if (!this.#wanted || this.#quickDeaths > deaths + 5) throw new Error('it keeps dying');
      return this.pid !== null && this.ready();
    }, `${this.name} did not become ready`).catch((error) => {
      throw new Error(`${error.message}; the end of ${this.logFile}:\n${tail(this.logFile)}`);
    });
  }

  async #spawn() {
    let pid = null;
    let early = null; // it may exit before its pid is known
    const onExit = (status) => (pid === null ? (early = { status }) : this.#exited(pid, status));
    this.#startedAt = Date.now();
    try {
      pid = await this.#launch(onExit);
    } catch (error) {
      return this.#exited(null, error.message);
    }
    this.#pids.add(pid);
    this.pid = pid;
    this.emit('change', this);
    if (early) this.#exited(pid, early.status);
  }

  #exited(pid, status) {
    this.#pids.delete(pid);
    if (this.pid !== pid && pid !== null) return this.emit('gone', pid); // the old one of a replacement
    this.pid = null;
    this.emit('gone', pid);
    this.emit('exit', { service: this, pid, status, expected: !this.#wanted });
    if (!this.#wanted || !this.restart) return;
    this.#quickDeaths = Date.now() - this.#startedAt < STEADY_MS ? this.#quickDeaths + 1 : 0;
    const wait = this.#quickDeaths <= 1 ? 0 : Math.min(50 * 2 ** this.#quickDeaths, RESTART_MS_MAX);
    this.#timer = setTimeout(() => this.#wanted && this.#spawn(), wait);
  }

  /** Ends it and resolves when it is gone; it is not started again. */
  async stop() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    await Promise.all([...this.#pids].map((pid) => this.#end(pid)));
  }

  async #end(pid) {
    for (const [signal, ms] of [...this.stopSignals, ['SIGKILL', 5000]]) {
      if (!this.#pids.has(pid)) return;
      this.#signal(pid, signal);
      const gone = await until(() => !this.#pids.has(pid), '', ms).then(() => true, () => false);
      if (gone) return;
    }
    throw new Error(`${this.name} (${pid}) cannot be stopped`);
  }

  #signal(pid, signal) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }

  /** Sends a signal to the running one: a test's way to break things. */
  kill(signal = 'SIGKILL') {
    if (this.pid === null) throw new Error(`${this.name} does not run`);
    const { pid } = this;
    this.#signal(pid, signal);
    return pid;
  }

  /** Stops and starts; `overlap` starts the new one first (for programs that inherit their socket). */
  async replace({ overlap = false } = {}) {
    if (!overlap) {
      await this.stop();
      return this.start();
    }
    const before = [...this.#pids];
    this.pid = null;
    await this.#spawn();
    await this.waitReady();
    await Promise.all(before.map((pid) => this.#end(pid)));
  }
}
