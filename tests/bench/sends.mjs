// Durable sends through HTTP (one user, inbox and one delivery), against the same SQL from pgbench.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { address, forEach, post, user, USERS } from './bench.mjs';

const CONNECTIONS = 8;
const SECONDS = 12;
const PGBENCH = '/usr/lib/postgresql/15/bin/pgbench';
const run_ = promisify(execFile);

export async function run(bench) {
  const stack = await bench.stack({ apiEnv: { BELFRY_THREADS: '16', BELFRY_DB_CONNECTIONS: '16' } });
  const tenant = await bench.tenant();
  await stack.stopService('worker'); // what is queued is not what is measured
  await forEach(USERS, 16, async (i) => {
    const answer = await tenant.service('PUT', `/users/${user(i)}/devices/hook`, { channel: 'webhook', url: 'http://127.0.0.1:9/' });
    if (answer.status !== 201) throw new Error(`PUT device: ${answer.status} ${JSON.stringify(answer.body)}`);
  });
  const sends = Array.from({ length: USERS }, (_, i) => post('/api/v1/notifications', tenant.authorization, { to: [user(i)], title: 'Hello @@@@@@@@', body: 'Body text' }));
  const script = bench.file('send.pgbench', pgbenchScript(stack));
  const ratios = [];
  for (let round = 0; round < 3; round++) {
    const { stdout } = await run_(PGBENCH, ['-n', '-M', 'prepared', '-c', String(CONNECTIONS), '-j', '2', '-T', String(SECONDS), '-f', script, stack.conninfo('belfry_api')]);
    const reference = Number(/tps = ([\d.]+)/.exec(stdout)[1]);
    const before = Number(stack.sql('select count(*) from belfry.notification'));
    const sent = await bench.load(address(stack), CONNECTIONS, SECONDS, sends);
    bench.expect(sent, 202);
    const stored = Number(stack.sql('select count(*) from belfry.notification')) - before;
    if (stored < sent.requests || stored > sent.requests + CONNECTIONS) bench.fault(`${sent.requests} sends were accepted, ${stored} are stored`);
    console.log(`  round ${round + 1}: pgbench ${reference.toFixed(0)} a second, HTTP ${sent.perSecond.toFixed(0)} (p50 ${sent.p50} ms, p99 ${sent.p99} ms)`);
    ratios.push(sent.perSecond / reference);
  }
  bench.figure('durable sends through HTTP / the same SQL from pgbench', ratios.sort()[1], { least: 0.6 });
}

/** The statements of sql/queries/send.sql for one user, with the values that the handler would give. */
function pgbenchScript(stack) {
  const queries = {};
  let name = null;
  for (const line of readFileSync(new URL('../../sql/queries/send.sql', import.meta.url), 'utf8').split('\n')) {
    if (line.startsWith('-- name: ')) queries[name = line.slice(9).trim()] = '';
    else if (name) queries[name] += ` ${line.replace(/--.*$/, '').trim()}`;
  }
  const users = "array['user-' || :u::text]";
  const id = "array[(substr(belfry.uuid_floor(now())::text, 1, 24) || lpad(to_hex(:r::bigint), 12, '0'))::uuid]";
  const none = "'{NULL}'";
  const insert = ["'0199e000-0000-7000-8000-000000000001'", 'false', "'{general}'", "'{Hello}'", "'{Body text}'", "'{\"{}\"}'", none,
    "'{general}'", "'{2}'", "'{\"[]\"}'", none, none, none, none, none, id, users, "'{0}'", "'{1}'", "'{1}'", 'now()'];
  const bind = (query, values) => query.replace(/\$(\d+)/g, (_, n) => values[n - 1]);
  const tenant = stack.sql("select id from belfry.tenant where name = 'bench'").trim();
  return `\\set u random(0, ${USERS - 1})
\\set r random(1, 280000000000000)
\\startpipeline
begin;
select set_config('belfry.tenant', '${tenant}', true), set_config('belfry.user', '*', true);
${bind(queries.send_lock_feeds, [users, "'{1}'"])};
${bind(queries.send_insert, insert)};
${bind(queries.send_plan, [id])};
commit;
\\endpipeline
`;
}
