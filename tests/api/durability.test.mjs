// Accepted means committed: no program works on a database that may lose what it has committed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BUILD, startDatabase } from '../database.mjs';

const EX_CONFIG = 78;
const DEADLINE_MS = 30_000;

describe('a database with synchronous_commit off', () => {
  let db;

  before(async () => {
    db = await startDatabase();
  });
  after(() => db?.stop());

  /** Starts a program whose sessions have the setting; gives how it ended and what it logged. */
  async function runProgram(program, role, env = {}) {
    const child = spawn(join(BUILD, program), {
      env: { ...db.env(role), ...env, PGOPTIONS: '-c synchronous_commit=off' }, stdio: ['ignore', 'ignore', 'pipe'], timeout: DEADLINE_MS,
    });
    let log = '';
    child.stderr.on('data', (chunk) => (log += chunk));
    const [status, signal] = await once(child, 'close');
    return { status, signal, log };
  }

  for (const [program, role, env] of [
    ['belfry-api', 'belfry_api', (dir) => ({ BELFRY_LISTEN: join(dir, 'api.sock') })],
    ['belfry-worker', 'belfry_worker', () => ({})],
    ['belfry-scheduler', 'belfry_scheduler', () => ({})],
  ]) {
    test(`is refused by ${program}`, async () => {
      const { status, signal, log } = await runProgram(program, role, env(db.dir));
      assert.equal(signal, null, log);
      assert.equal(status, EX_CONFIG, log);
      assert.match(log, /synchronous_commit/);
    });
  }
});
