// The named queries of sql/queries, as the build sees them, and the roles that really run each.
import { readdirSync, readFileSync } from 'node:fs';

const DIR = new URL('../sql/queries/', import.meta.url);

// By module; a few by name.
const ROLES = {
  auth: ['belfry_api'], ctl: ['belfry_operator'], devices: ['belfry_api'], feed: ['belfry_api'],
  health: ['belfry_api', 'belfry_worker', 'belfry_scheduler'], idempotency: ['belfry_api'], inbox: ['belfry_api'],
  metrics: ['belfry_api', 'belfry_worker', 'belfry_scheduler'], notifications: ['belfry_api'], ops: ['belfry_api'],
  preferences: ['belfry_api'], queue: ['belfry_worker'], scheduler: ['belfry_scheduler'], send: ['belfry_api'],
  users: ['belfry_api'], worker: ['belfry_worker'],
};
const ROLES_BY_NAME = {
  ctl_migrate_state: ['postgres'], ctl_migrate_applied: ['postgres'],
  metrics_queue: ['belfry_api'], metrics_read: ['belfry_api'],
  queue_recover: ['belfry_scheduler'], queue_promote: ['belfry_scheduler'], queue_release: ['belfry_scheduler'],
  queue_compact: ['belfry_scheduler'], queue_depths: ['belfry_api', 'belfry_operator'],
  queue_replay: ['belfry_api', 'belfry_operator'], queue_replay_all: ['belfry_api', 'belfry_operator'],
  send_plan: ['belfry_api', 'belfry_scheduler'], send_insert: ['belfry_api', 'belfry_scheduler'],
  send_lock_feeds: ['belfry_api', 'belfry_scheduler'], send_due_lock_feeds: ['belfry_scheduler'], send_due_arrive: ['belfry_scheduler'],
};

/** [{name, module, sql, roles}] */
export function readQueries() {
  return readdirSync(DIR).filter((file) => file.endsWith('.sql')).sort().flatMap((file) => {
    const module = file.replace('.sql', '');
    const parts = readFileSync(new URL(file, DIR), 'utf8').split(/^-- name: /m).slice(1);
    return parts.map((part) => {
      const [name, ...lines] = part.split('\n');
      const sql = lines.filter((line) => !/^\s*(--.*)?$/.test(line)).join('\n');
      const roles = ROLES_BY_NAME[name.trim()] ?? ROLES[module];
      if (!roles) throw new Error(`tests/queries.mjs: which role runs the queries of ${file}?`);
      return { name: name.trim(), module, sql, roles };
    });
  });
}

/** Types of a statement's parameters, as the server inferred them; the statement stays prepared as `name`. */
export async function prepare(client, { name, sql }) {
  await client.query(`prepare ${name} as ${sql}`);
  const { rows } = await client.query('select parameter_types::text[] as types from pg_prepared_statements where name = $1', [name]);
  return rows[0].types;
}
