// belfryctl migrate: once, by several at a time, and never backwards; and what a fresh schema must look like.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { startDatabase } from '../database.mjs';

const FILES = readdirSync(new URL('../../sql/migrations', import.meta.url)).sort().map((name) => `migrations/${name}`);

// Tables of the installation as a whole: no tenant's rows are in them.
const SHARED_TABLES = ['duty', 'installation', 'process_metric', 'retention', 'schema_migration', 'worker'];

describe('migrations', () => {
  let db;
  before(async () => {
    db = await startDatabase({ migrate: false });
  });
  after(() => db?.stop());

  test('the first run needs a role that may create roles', async () => {
    db.sql('create role plain login', 'postgres');
    const { status, stderr } = await db.ctlAsync('plain', ['migrate']);
    assert.equal(status, 77, stderr);
    assert.match(stderr, /role that may create roles/);
    assert.equal(db.sql("select count(*) from pg_namespace where nspname = 'belfry'"), '0');
  });

  test('each migration is applied once when four processes start at the same time', async () => {
    const runs = await Promise.all([1, 2, 3, 4].map(() => db.ctlAsync('postgres', ['migrate', '--json'])));
    for (const run of runs) assert.equal(run.status, 0, run.stderr);
    const applied = runs.flatMap((run) => JSON.parse(run.stdout).applied).sort();
    assert.deepEqual(applied, FILES);
    assert.deepEqual((await db.rows('select name from belfry.schema_migration order by name')).map((r) => r.name), FILES);
  });

  test('two databases of one server can be migrated at the same time', async () => {
    db.sql('create database second', 'postgres');
    db.sql('create database third', 'postgres');
    const runs = await Promise.all(['second', 'third'].map((database) => db.ctlAsync('postgres', ['migrate'], { database })));
    for (const run of runs) assert.equal(run.status, 0, run.stderr);
  });

  test('a role that may create roles and is no superuser can set a database up', async () => {
    db.sql('create role founder login createrole', 'postgres');
    db.sql('create database fourth owner founder', 'postgres');
    const { status, stderr } = await db.ctlAsync('founder', ['migrate'], { database: 'fourth' });
    assert.equal(status, 0, stderr);
  });

  test('a second run changes nothing', async () => {
    assert.deepEqual(db.ctlAs('postgres', 'migrate', '--json'), { applied: [] });
  });

  test('a changed migration is refused', async () => {
    db.sql("update belfry.schema_migration set checksum = 'x' where name = 'migrations/0001_core.sql'", 'second');
    const { status, stderr } = await db.ctlAsync('postgres', ['migrate'], { database: 'second' });
    assert.equal(status, 1);
    assert.match(stderr, /0001_core.sql was changed/);
  });

  test('a newer schema is refused and not touched', async () => {
    db.sql("insert into belfry.schema_migration (name, checksum) values ('migrations/9999_future.sql', 'x'); delete from belfry.schema_migration where name like '%0004%'", 'third');
    const { status, stderr } = await db.ctlAsync('postgres', ['migrate'], { database: 'third' });
    assert.equal(status, 1);
    assert.match(stderr, /newer than this program.*9999_future/);
    assert.equal(db.sql("select count(*) from belfry.schema_migration where name like '%0004%'", 'third'), '0');
  });

  test('a database that cannot be reached: exit code 69', async () => {
    const { status } = await db.ctlAsync('postgres', ['migrate'], { database: 'nowhere' });
    assert.equal(status, 69);
  });
});

describe('the schema', () => {
  let db;
  before(async () => {
    db = await startDatabase();
  });
  after(() => db?.stop());

  const tables = () => db.rows(`
    select c.relname as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced, obj_description(c.oid) as comment,
           (select count(*)::integer from pg_policy p where p.polrelid = c.oid) as policies
    from pg_class c where c.relnamespace = 'belfry'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by 1`);

  test('every table of a tenant has row-level security, enabled and forced', async () => {
    for (const t of await tables()) {
      if (SHARED_TABLES.includes(t.name)) continue;
      assert.ok(t.enabled && t.forced && t.policies > 0, `${t.name}: ${JSON.stringify(t)}`);
    }
  });

  test('tables without row-level security hold no tenant_id that names an owner', async () => {
    const found = await db.rows(`select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
      where c.relnamespace = 'belfry'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and not c.relrowsecurity
        and a.attname = 'tenant_id' and not a.attisdropped and c.relname <> 'retention'`);
    assert.deepEqual(found, []);
  });

  test('every table has a comment', async () => {
    const without = (await tables()).filter((t) => !t.comment).map((t) => t.name);
    assert.deepEqual(without, []);
  });

  test('nobody may touch a partition but through its parent', async () => {
    const found = await db.rows(`select c.relname, a.grantee::regrole::text from pg_class c, aclexplode(c.relacl) a
      where c.relnamespace = 'belfry'::regnamespace and c.relispartition and a.grantee <> 'belfry_owner'::regrole`);
    assert.deepEqual(found, []);
  });

  test('no role is a superuser or bypasses row-level security, and only the owner owns tables', async () => {
    const roles = await db.rows("select rolname, rolsuper, rolbypassrls, rolcreaterole from pg_roles where rolname like 'belfry%'");
    assert.equal(roles.length, 7);
    for (const role of roles) assert.ok(!role.rolsuper && !role.rolbypassrls && !role.rolcreaterole, role.rolname);
    const owners = await db.rows(`select distinct relowner::regrole::text as owner from pg_class
      where relnamespace = 'belfry'::regnamespace and relkind in ('r', 'p', 'S', 'v', 'm')`);
    assert.deepEqual(owners, [{ owner: 'belfry_owner' }]);
  });

  test('a function that runs with rights of its own pins its search path and is nobody\'s to call by default', async () => {
    const functions = await db.rows(`select proname, proconfig, exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) a where a.grantee = 0) as open,
        proowner::regrole::text as owner from pg_proc where pronamespace = 'belfry'::regnamespace and prosecdef`);
    assert.ok(functions.length > 0);
    for (const f of functions) {
      assert.ok(f.proconfig?.some((setting) => setting.startsWith('search_path=')), f.proname);
      assert.equal(f.open, false, `${f.proname} may be called by everybody`);
    }
  });

  test('programs have their time limits by their roles, behind a pooler too', async () => {
    for (const role of ['belfry_api', 'belfry_worker', 'belfry_scheduler']) {
      const { rows: [limits] } = await db.as(role, {}, (c) => c.query(`select current_setting('lock_timeout') as lock,
        current_setting('statement_timeout') as statement, current_setting('idle_in_transaction_session_timeout') as idle`));
      assert.deepEqual(limits, { lock: '1s', statement: '5s', idle: '10s' }, role);
    }
  });

  test('there are partitions for 14 days ahead and none for everything else', async () => {
    const found = await db.rows(`select i.inhparent::regclass::text as parent, count(*)::integer as count,
        bool_or(pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT') as has_default
      from pg_inherits i join pg_class c on c.oid = i.inhrelid where c.relnamespace = 'belfry'::regnamespace and c.relkind = 'r' group by 1 order by 1`);
    for (const row of found) assert.equal(row.has_default, false, row.parent);
    const days = Object.fromEntries(found.map((row) => [row.parent, row.count]));
    assert.ok(days['belfry.delivery'] >= 15 && days['belfry.attempt'] >= 15 && days['belfry.notification'] >= 1, JSON.stringify(days));
  });
});
