// Every named query is prepared as the role that runs it, and its plan is looked at: under row-level security, on an
// empty schema and on a filled one, big tables are reached by an index with a condition, never read whole.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { startDatabase } from '../database.mjs';
import { prepare, readQueries } from '../queries.mjs';

// What grows with users, notifications or deliveries.
const BIG = ['app_user', 'attempt', 'dead_letter', 'dedup', 'delivery', 'device', 'due', 'feed', 'idempotency', 'lease', 'notification',
  'preference', 'ready', 'scheduled', 'send_request'];

// A walk along an index without a condition is meant here: its first rows only, or everything, seldom.
const WALKS = {
  auth_revocations: ['app_user'],
  ctl_reseal_users: ['app_user'], ctl_reseal_devices: ['device'], // once after a rotation
  ctl_send_failures: ['send_request'], // an operator's list; requests are gone when expanded
  scheduler_peek: ['send_request', 'scheduled'], // whether there is a first row
  scheduler_partition_find: ['due', 'scheduled', 'ready', 'lease', 'dead_letter'], // every ten minutes, reads only
  scheduler_forget: ['send_request'], // failed ones
  queue_lanes: ['ready'], queue_depths: ['ready'], queue_release: ['scheduled'], // first row, then from one lane to the next
};

function* scans(node) {
  if (node['Relation Name']) yield node;
  for (const child of node.Plans ?? []) yield* scans(child);
}

/** Scans of big tables that are no index scans with a condition. */
function wholeScans(plan) {
  const bad = [];
  for (const node of scans(plan)) {
    const table = node['Relation Name'].replace(/_\d+$/, '');
    if (!BIG.includes(table) || node['Node Type'] === 'ModifyTable' || node['Node Type'] === 'Tid Scan') continue;
    if (node['Node Type'] === 'Bitmap Heap Scan' && node.Plans?.every((p) => p['Index Cond'])) continue;
    if (!node['Index Cond']) bad.push({ table, type: node['Node Type'], index: node['Index Name'], filter: node.Filter });
  }
  return bad;
}

async function genericPlan(client, query) {
  await client.query('deallocate all');
  const types = (await prepare(client, query)) ?? [];
  const args = types.length ? `(${types.map(() => 'null').join(', ')})` : '';
  const { rows } = await client.query(`explain (format json) execute ${query.name}${args}`);
  return rows[0]['QUERY PLAN'][0].Plan;
}

describe('the plans of named queries', () => {
  let db;
  const queries = readQueries();
  before(async () => {
    db = await startDatabase();
  });
  after(() => db?.stop());

  const eachPlan = async (settings, look) => {
    const failures = [];
    for (const query of queries) {
      for (const role of query.roles) {
        await db.as(role, { tenant: 1, user: '*', commit: false }, async (client) => {
          for (const [name, value] of Object.entries(settings)) await client.query(`set local ${name} = ${value}`);
          const problem = look(await genericPlan(client, query), query);
          if (problem) failures.push(`${query.name} as ${role}: ${problem}`);
        }).catch((error) => failures.push(`${query.name} as ${role}: ${error.message}`));
      }
    }
    assert.deepEqual(failures, []);
  };
  const byIndex = (plan, query) => {
    const [bad] = wholeScans(plan).filter(({ table }) => !(WALKS[query.name] ?? []).includes(table));
    return bad && JSON.stringify(bad);
  };

  test('every query can be prepared by the role that runs it', async () => {
    assert.ok(queries.length > 100);
    await eachPlan({}, () => null);
  });

  test('every query has an index for each big table that it reads, on a schema without statistics', async () => {
    await eachPlan({ plan_cache_mode: 'force_generic_plan', enable_seqscan: 'off' }, byIndex);
  });

  test('and the planner takes it once there is something in the tables', async () => {
    db.sql(`
      insert into belfry.tenant (name) select 't' || g from generate_series(1, 20) g;
      insert into belfry.feed (tenant_id, key, rev, unread) select t, 'inbox:u' || u, 20, 20 from generate_series(1, 20) t, generate_series(1, 200) u;
      insert into belfry.app_user (tenant_id, id) select t, 'u' || u from generate_series(1, 20) t, generate_series(1, 200) u;
      insert into belfry.device (tenant_id, user_id, id, channel, provider, address_sealed, address_index)
        select t, 'u' || u, d, d, '', '\\x00', decode(md5(t || '.' || u || d), 'hex') from generate_series(1, 20) t, generate_series(1, 200) u, unnest(array['email', 'webhook']) d;
      insert into belfry.preference (tenant_id, user_id) select t, 'u' || u from generate_series(1, 20) t, generate_series(1, 200) u;
      create temp table made as select t, u, g, (replace(belfry.uuid_floor(now() - g * interval '1 minute')::text, '-0000-0000-000000000000', '') ||
          '-7' || substr(gen_random_uuid()::text, 16))::uuid as id from generate_series(1, 20) t, generate_series(1, 200) u, generate_series(1, 20) g;
      insert into belfry.notification (tenant_id, id, user_id, request_id, type, title, body, category, priority, rev, position, in_inbox)
        select t, id, 'u' || u, id, 'general', 'title', 'body', 'general', 2, g, g, true from made;
      insert into belfry.delivery select t, id, 1, 'u' || u, 'email', '', 'email' from made;
      insert into belfry.attempt (tenant_id, notification_id, n, generation, number, outcome, final) select t, id, 1, 1, 1, 'sent', true from made;
      insert into belfry.ready (channel, tenant_id, priority, notification_id, n) select 'email', t, 2, id, 1 from made where g < 10;
      insert into belfry.scheduled (tenant_id, notification_id, n, channel, priority, at) select t, id, 1, 'email', 2, now() + g * interval '1 hour' from made where g > 15;
      insert into belfry.due select t, id, 'expire', now() + g * interval '1 day' from made where g > 10;
      insert into belfry.lease select t, id, 1, 1, g, 'email', 2, 0, 0 from made where g in (14, 15);
      insert into belfry.dead_letter select t, id, 1, 'u' || u, 'email', 2, 'x', 1, now() - g * interval '1 hour' from made where g in (12, 13);
      insert into belfry.dedup select t, 'u' || u, 'k' || g, id, now() + g * interval '1 hour' from made;
      insert into belfry.idempotency select t, 'k' || u || '.' || g, '\\x00', '{}', now() - g * interval '1 hour' from made;
      analyze`);
    await eachPlan({ plan_cache_mode: 'force_generic_plan' }, byIndex);
  });

  test('the hottest queries use the very index that was made for them', async () => {
    const expected = {
      feed_read_delta: 'by_rev|user_id_rev', feed_read_state: 'by_position|user_id_position', inbox_list: 'by_position|user_id_position',
      queue_claim: 'ready_pkey', queue_promote: 'scheduled_by_time', scheduler_due_find: 'due_by_time',
    };
    for (const [name, index] of Object.entries(expected)) {
      const query = queries.find((q) => q.name === name);
      await db.as(query.roles[0], { tenant: 1, user: '*', commit: false }, async (client) => {
        await client.query('set local plan_cache_mode = force_generic_plan');
        const used = [...scans(await genericPlan(client, query))].map((node) => node['Index Name']).filter(Boolean);
        assert.ok(used.some((i) => new RegExp(index).test(i)), `${name}: ${used}`);
      });
    }
  });
});
