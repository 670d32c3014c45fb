// Promise 7: tenants are walls, and users too. Whatever a statement of the API forgets, row-level security remembers:
// two tenants with two users each, everything of the other tenant marked "foreign", of the other user "secret".
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { startDatabase } from '../database.mjs';
import { prepare, readQueries } from '../queries.mjs';
import { stripWhere } from '../strip-where.mjs';

const MINE = { tenant: 1, user: '*' };
const ME = { tenant: 1, user: 'me' };
const NOBODY = [{}, { tenant: 1 }, { user: '*' }, { user: 'me' }, { tenant: 3, user: '*' }, { tenant: 3, user: 'me' }];

// Rows of a tenant that all its users may see: ids and providers of accounts, without their configuration.
const SHARED_AMONG_USERS = ['account'];

const setup = `
  insert into belfry.tenant (name) values ('mine'), ('foreign');
  create temp table who as select * from (values
    (1, 'me', 'plain'), (1, 'secret-user', 'secret'), (2, 'me', 'foreign'), (2, 'foreign-user', 'foreign')) w (tenant_id, user_id, mark);
  insert into belfry.tenant_origin select id, 'https://' || name || '.example' from belfry.tenant;
  insert into belfry.tenant_login select name, id from belfry.tenant;
  insert into belfry.app_key (tenant_id, id, secret_mac, scopes) select id, 'bk_' || name, '\\x00', 31 from belfry.tenant;
  insert into belfry.issuer (tenant_id, name, algorithm, key_sealed) select id, 'https://' || name, 'HS256', '\\x00' from belfry.tenant;
  insert into belfry.account (tenant_id, id, channel, provider, config_sealed) select id, name || '-account', 'email', 'smtp', convert_to(name, 'utf8') from belfry.tenant;
  insert into belfry.app_user (tenant_id, id, name, email_sealed) select tenant_id, user_id, mark, convert_to(mark, 'utf8') from who;
  insert into belfry.device (tenant_id, user_id, id, channel, provider, address_sealed, address_index, hint)
    select tenant_id, user_id, d, d, '', convert_to(mark, 'utf8'), convert_to(mark, 'utf8'), mark from who, unnest(array['email', 'webhook', 'push']) d;
  insert into belfry.preference (tenant_id, user_id, opt_outs) select tenant_id, user_id, array[mark] from who;
  insert into belfry.feed (tenant_id, key, rev, unread, unseen) select tenant_id, 'inbox:' || user_id, 5, 3, 3 from who;
  create temp table made as select w.*, g, (replace(belfry.uuid_floor(now() - g * interval '1 minute')::text, '-0000-0000-000000000000', '') ||
      '-7' || substr(gen_random_uuid()::text, 16))::uuid as id from who w, generate_series(1, 3) g;
  insert into belfry.notification (tenant_id, id, user_id, request_id, type, title, body, category, priority, rev, position, in_inbox, expires_at, channels, decisions, actions)
    select tenant_id, id, user_id, id, mark, mark, mark, mark, 2, g, g, true, now() + interval '1 day', array['email', 'nowhere'], json_build_array(mark), json_build_array(json_build_object('id', 'ok', 'label', mark)) from made;
  insert into belfry.due select tenant_id, id, 'expire', now() from made;
  insert into belfry.idempotency select tenant_id, mark || id, '\\x00', mark from made;
  insert into belfry.dedup select tenant_id, user_id, mark || g, id, now() + interval '1 hour' from made;
  insert into belfry.send_request (tenant_id, body) select tenant_id, json_build_object('title', mark)::jsonb from who;
  insert into belfry.delivery select tenant_id, id, 1, user_id, 'email', '', 'email' from made;
  insert into belfry.attempt (tenant_id, notification_id, n, generation, number, outcome, final, detail) select tenant_id, id, 1, 1, 1, 'sent', true, mark from made;
  insert into belfry.ready (channel, tenant_id, priority, notification_id, n) select 'email', tenant_id, 2, id, 1 from made;
  insert into belfry.scheduled (tenant_id, notification_id, n, channel, priority, at, held_by) select tenant_id, id, 2, 'email', 2, now(), mark from made;
  insert into belfry.lease select tenant_id, id, 3, 1, 1, 'email', 2, 0, 0 from made;
  insert into belfry.dead_letter select tenant_id, id, 4, user_id, 'email', 2, mark, 1 from made;
  insert into belfry.queue_delta (tenant_id, channel, ready) select tenant_id, 'email', 3 from who;
`;

describe('row-level security', () => {
  let db;
  let tables; // of tenants: name → has it a user's column
  let marks; // id of a notification → whose
  before(async () => {
    db = await startDatabase();
    db.sql(setup);
    tables = await db.rows(`select c.relname as name from pg_class c
      where c.relnamespace = 'belfry'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and c.relrowsecurity order by 1`);
    tables = tables.map((t) => t.name);
    marks = new Map((await db.rows('select id, tenant_id, user_id from belfry.notification')).map((r) => [r.id, r]));
  });
  after(() => db?.stop());

  /** Is anything in this row another tenant's (or, for a user, another user's)? */
  function isForeign(row, { user }) {
    const bytes = (value) => (Buffer.isBuffer(value) ? value.toString('utf8') : value);
    const text = JSON.stringify(row, (key, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString() : bytes(value)));
    if (/foreign/.test(text) || (user !== '*' && /secret/.test(text))) return true;
    for (const [id] of text.matchAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g)) {
      const owner = marks.get(id);
      if (owner && (owner.tenant_id !== 1 || (user !== '*' && owner.user_id !== user))) return true;
    }
    return row.tenant_id !== undefined && row.tenant_id !== 1;
  }

  /** As belfry_api within a superuser's transaction that is rolled back: the same rights, and one can look behind. */
  async function asApi(context, work) {
    await db.as('postgres', { ...context, commit: false }, async (client) => {
      await client.query("set local role belfry_api; set local statement_timeout = '1s'"); // a recursion without its end
      await work(client);
    });
  }

  const foreignRows = async (client, { user }) => {
    await client.query('reset role');
    const prints = [];
    for (const table of tables) {
      const others = table === 'tenant' ? 'x.id <> 1' : 'x.tenant_id <> 1';
      const userColumn = { app_user: 'x.id', feed: 'substr(x.key, 7)' }[table] ?? (['device', 'preference', 'notification'].includes(table) ? 'x.user_id' : null);
      const strangers = user !== '*' && userColumn ? ` or ${userColumn} <> '${user}'` : '';
      const { rows } = await client.query(`select md5(coalesce(string_agg(x::text, '|' order by x::text), '')) as print from belfry.${table} x where ${others}${strangers}`);
      prints.push(`${table} ${rows[0].print}`);
    }
    await client.query('set local role belfry_api');
    return prints;
  };

  /** Runs a statement; its rows, or null if it was refused. The transaction goes on either way. */
  async function attempt(client, text) {
    await client.query('savepoint attempt');
    try {
      const result = await client.query(text);
      return { rows: result.rows ?? [] };
    } catch (error) {
      await client.query('rollback to savepoint attempt');
      return { error };
    }
  }

  for (const [who, context] of [['a service', MINE], ['a user', ME]]) {
    test(`${who} that reads every table without WHERE sees nothing foreign`, async () => {
      const seen = [];
      await asApi(context, async (client) => {
        for (const table of tables) {
          const { rows = [], error } = await attempt(client, `select * from belfry.${table}`);
          if (error) assert.equal(error.code, '42501', `${table}: ${error.message}`);
          else if (rows.length > 0) seen.push(table);
          const ours = SHARED_AMONG_USERS.includes(table) ? { user: '*' } : context;
          for (const row of rows) assert.ok(!isForeign(row, ours), `${table}: ${JSON.stringify(row)}`);
        }
      });
      assert.ok(seen.includes('notification') && seen.includes('feed') && seen.includes('device'), `it sees its own: ${seen}`);
    });

    test(`${who} that changes or deletes without WHERE touches nothing foreign`, async () => {
      for (const table of tables) {
        const { rows: columns } = await db.as('postgres', {}, (c) => c.query(
          "select attname as name from pg_attribute where attrelid = ('belfry.' || $1)::regclass and attnum > 0 and not attisdropped and attidentity = ''", [table]));
        for (const { name } of columns.slice(-1)) {
          await asApi(context, async (client) => {
            const before = await foreignRows(client, context);
            await attempt(client, `update belfry.${table} set ${name} = ${name}`);
            await attempt(client, `delete from belfry.${table}`);
            assert.deepEqual(await foreignRows(client, context), before, table);
          });
        }
      }
    });
  }

  test('nobody (no tenant, no user, an unknown tenant) sees nothing at all', async () => {
    for (const context of NOBODY) {
      await asApi(context, async (client) => {
        for (const table of tables) {
          const { rows = [] } = await attempt(client, `select * from belfry.${table}`);
          assert.deepEqual(rows, [], `${table} as ${JSON.stringify(context)}`);
        }
      });
    }
  });

  test('nobody can write for another tenant', async () => {
    await asApi(MINE, async (client) => {
      for (const text of [
        "insert into belfry.feed (tenant_id, key) values (2, 'inbox:new')",
        "insert into belfry.preference (tenant_id, user_id) values (2, 'new')",
        "update belfry.preference set tenant_id = 2 where user_id = 'secret-user'",
        "insert into belfry.ready (channel, tenant_id, priority, notification_id, n) values ('email', 2, 2, gen_random_uuid(), 1)",
      ]) {
        const { error } = await attempt(client, text);
        assert.equal(error?.code, '42501', `${text}: ${error?.message}`);
      }
    });
    await asApi(ME, async (client) => {
      const { error } = await attempt(client, "insert into belfry.feed (tenant_id, key) values (1, 'inbox:secret-new')");
      assert.equal(error?.code, '42501');
      const { error: other } = await attempt(client, "insert into belfry.device (tenant_id, user_id, id, channel, provider, address_sealed, address_index) values (1, 'secret-user', 'x', 'push', '', '', '')");
      assert.equal(other?.code, '42501');
    });
  });

  // ---- each named query of the API, with its conditions taken out ----

  const api = readQueries().filter((query) => query.roles.includes('belfry_api'));

  // Argument values that fit a type: a foreign user, foreign notifications, generous limits.
  async function argumentsFor(types) {
    const foreign = [...marks].find(([, owner]) => owner.tenant_id === 2)[0];
    const values = {
      text: "'foreign-user'", uuid: `'${foreign}'`, integer: '50', smallint: '4', bigint: '0', boolean: 'true', 'timestamp with time zone': 'now()',
      json: "'{}'", jsonb: "'{}'", bytea: "'\\x666f726569676e'", double: '1', 'double precision': '1', interval: "'1 day'",
    };
    return types.map((type) => {
      const element = type.replace('[]', '');
      const value = `${values[element] ?? 'null'}::${element}`;
      return type.endsWith('[]') ? `array[${value}]` : value;
    });
  }

  const variants = {
    'as written': (sql) => sql,
    'without a tenant\'s condition': (sql) => sql.replace(/(\w+\.)?tenant_id = belfry\.tenant\(\)/g, 'true'),
    'without any WHERE': stripWhere,
    'without WHERE and without a tenant\'s condition': (sql) => stripWhere(sql).replace(/(\w+\.)?tenant_id = belfry\.tenant\(\)/g, 'true'),
  };
  // They answer before the tenant is known, by exact name, and give numbers and times only; stripped of their argument they are no query.
  const RESOLVERS = ['auth_app_key', 'auth_issuer', 'auth_origin', 'auth_revocations', 'feed_revs', 'metrics_queue'];

  for (const [variant, change] of Object.entries(variants)) {
    test(`no query of the API gives or touches anything foreign, ${variant}`, async () => {
      let ran = 0;
      const unparsed = [];
      for (const query of api) {
        if (RESOLVERS.includes(query.name)) continue;
        for (const context of [MINE, ME]) {
          await asApi(context, async (client) => {
            await client.query('deallocate all');
            const args = await argumentsFor((await prepare(client, query)) ?? []); // types as it was written
            const sql = change(query.sql).replace(/\$(\d+)/g, (_, n) => args[n - 1]);
            const before = await foreignRows(client, context);
            const { rows = [], error } = await attempt(client, sql);
            if (error?.code === '42601') unparsed.push(`${query.name}: ${error.message}`);
            if (!error) ran += 1;
            for (const row of rows) {
              // what was given comes back from some
              const given = JSON.stringify(row).replaceAll(/foreign-user/g, '').replaceAll(new RegExp(args.join('|').match(/[0-9a-f]{8}-[0-9a-f-]{27}/)?.[0] ?? '^$', 'g'), '');
              assert.ok(!isForeign(JSON.parse(given), context), `${query.name} as ${context.user}: ${JSON.stringify(row)}`);
            }
            assert.deepEqual(await foreignRows(client, context), before, `${query.name} as ${context.user} changed something foreign`);
          });
        }
      }
      assert.ok(ran > api.length, `${ran} statements ran`); // of two for each query
      assert.deepEqual(unparsed, []);
    });
  }
});
