/** A clock of the database's own, for tests of the calendar: nobody waits for the 31st of a month. */
import type { Database } from "./database.ts";

/**
 * Puts a clock that a test sets into a database, in the place of the machine's: in every function, view and default
 * that asks what time it is. It runs on from wherever it is set, or stands there: for trials that are to come out the
 * same however long each call takes. A user's time may only go forwards.
 *
 * @returns sets the clock to that moment (ISO 8601)
 */
export async function takeTheClock(
  db: Database,
  { stands = false } = {},
): Promise<(at: string) => Promise<void>> {
  await db.admin.query(`
    create table tokenbook.test_clock (ahead interval not null, stands_at timestamptz);
    insert into tokenbook.test_clock values ('0');
    create function tokenbook.test_now() returns timestamptz language sql volatile security definer set search_path = pg_catalog, pg_temp
      as 'select coalesce(c.stands_at, clock_timestamp() + c.ahead) from tokenbook.test_clock c';
    grant execute on function tokenbook.test_now() to public;
    do $do$
    declare
      c_asks constant text := '\\m(clock_timestamp|statement_timestamp|transaction_timestamp|now)\\(\\)';
      v_found record;
    begin
      for v_found in
        select pg_get_functiondef(p.oid) as definition from pg_proc p
         where p.pronamespace in ('tokenbook'::regnamespace, 'public'::regnamespace) and p.prokind = 'f'
           and p.prosrc ~ c_asks and p.proname <> 'test_now'
      loop
        execute regexp_replace(v_found.definition, c_asks, 'tokenbook.test_now()', 'g');
      end loop;
      for v_found in
        select c.oid::regclass as name, pg_get_viewdef(c.oid) as definition from pg_class c
         where c.relnamespace in ('tokenbook'::regnamespace, 'public'::regnamespace) and c.relkind = 'v'
           and pg_get_viewdef(c.oid) ~ c_asks
      loop
        execute format('create or replace view %s with (security_invoker = true) as %s',
          v_found.name, regexp_replace(v_found.definition, c_asks, 'tokenbook.test_now()', 'g'));
      end loop;
      for v_found in
        select d.adrelid::regclass as name, a.attname, pg_get_expr(d.adbin, d.adrelid) as definition from pg_attrdef d
          join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
          join pg_class c on c.oid = d.adrelid
         where c.relnamespace in ('tokenbook'::regnamespace, 'public'::regnamespace)
           and pg_get_expr(d.adbin, d.adrelid) ~ c_asks
      loop
        execute format('alter table %s alter column %I set default %s',
          v_found.name, v_found.attname, regexp_replace(v_found.definition, c_asks, 'tokenbook.test_now()', 'g'));
      end loop;
    end
    $do$`);
  return async (at) => {
    await db.admin.query(
      `update tokenbook.test_clock
          set ahead = $1::timestamptz - clock_timestamp(), stands_at = case when $2 then $1::timestamptz end`,
      [at, stands],
    );
  };
}
