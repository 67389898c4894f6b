import pg from "pg";
import { expect, test } from "vitest";
import {
  type Arguments,
  argumentsAbout,
  argumentsBehind,
  type Callable,
  callablesOf,
  callOf,
} from "../support/calls.ts";
import {
  attempt,
  type Caller,
  callers,
  type CallerFixture,
  createCallerFixture,
  type Said,
} from "../support/callers.ts";
import { applyMutant } from "../support/mutants.ts";
import { setTheStage } from "../support/staged-calls.ts";

/**
 * As the caller, in the session's pg_temp: a domain for every type, a view for every relation, and a
 * function and an operator for those of Postgres that bear on the types in use, each of the name that
 * the functions might mean; and a type of their own with casts to and from those, taken without being asked for. Whatever of it is used by anybody but the caller raises ZZ001, and says
 * what it was and as whom it ran.
 */
const layTraps = `
do $traps$
declare
  v_caller constant text := current_user;
  v_temp text;
  v_laid integer := 0;
  v record;
begin
  execute format($make$
    create function pg_temp.trap(what pg_catalog.text) returns pg_catalog.bool language plpgsql as $body$
    begin
      if current_user <> %L then
        raise exception using errcode = 'ZZ001', message = pg_catalog.format('%%s as %%s', what, current_user);
      end if;
      return true;
    end $body$
  $make$, v_caller);

  v_temp := (select n.nspname from pg_namespace n where n.oid = pg_my_temp_schema());

  -- operators and functions first: they are made of types, which must still be Postgres' own
  for v in
    select p.proname as name, string_agg(format('pg_catalog.%I', t.typname), ', ' order by a.nth) as arguments,
           format('pg_catalog.%I', r.typname) as result
      from pg_proc p
      join pg_type r on r.oid = p.prorettype and r.typtype = 'b'
     cross join unnest(p.proargtypes::oid[]) with ordinality a (type, nth)
      join pg_type t on t.oid = a.type
     where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and not p.proretset and p.pronargs between 1 and 3
     group by p.oid, p.proname, r.typname
    having bool_and(t.typname in ('text', 'uuid', 'int2', 'int4', 'int8', 'bool', 'numeric', 'jsonb', 'timestamptz', 'interval'))
       and p.proname !~ '_(in|out|send|recv)$'
  loop
    execute format('create function pg_temp.%I(%s) returns %s language plpgsql as $body$ begin perform pg_temp.trap(%L); return null; end $body$',
                   v.name, v.arguments, v.result, format('function %s(%s)', v.name, v.arguments));
    v_laid := v_laid + 1;
  end loop;
  for v in
    select o.oprname as name, format('pg_catalog.%I', l.typname) as l, format('pg_catalog.%I', r.typname) as r
      from pg_operator o
      join pg_type l on l.oid = o.oprleft
      join pg_type r on r.oid = o.oprright
     where l.typname in ('text', 'uuid', 'int4', 'int8', 'bool', 'numeric', 'jsonb', 'timestamptz')
       and r.typname in ('text', 'uuid', 'int4', 'int8', 'bool', 'numeric', 'jsonb', 'timestamptz', 'interval')
       and o.oprname in ('=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/', '||', '->', '->>', '?')
  loop
    execute format('create or replace function pg_temp.operation(%s, %s) returns pg_catalog.bool language plpgsql as $body$ begin return pg_temp.trap(''operator''); end $body$', v.l, v.r);
    execute format('create operator pg_temp.%s (leftarg = %s, rightarg = %s, function = pg_temp.operation)', v.name, v.l, v.r);
    v_laid := v_laid + 1;
  end loop;

  create type pg_temp.of_the_caller as enum ('a');
  for v in
    select t.typname as name from pg_type t
     where t.typnamespace = 'pg_catalog'::regnamespace
       and t.typname in ('text', 'uuid', 'int4', 'int8', 'bool', 'numeric', 'jsonb', 'timestamptz', 'interval')
  loop
    execute format('create function pg_temp.cast_to_%s(pg_temp.of_the_caller) returns pg_catalog.%I language plpgsql as $body$ begin perform pg_temp.trap(''cast''); return null; end $body$', v.name, v.name);
    execute format('create function pg_temp.cast_from_%s(pg_catalog.%I) returns pg_temp.of_the_caller language plpgsql as $body$ begin perform pg_temp.trap(''cast''); return null; end $body$', v.name, v.name);
    execute format('create cast (pg_temp.of_the_caller as pg_catalog.%I) with function pg_temp.cast_to_%s as implicit', v.name, v.name);
    execute format('create cast (pg_catalog.%I as pg_temp.of_the_caller) with function pg_temp.cast_from_%s as implicit', v.name, v.name);
    v_laid := v_laid + 2;
  end loop;

  -- what there is of the name is a type as well
  for v in
    select c.relname as name, string_agg(format('null::%s as %I', format_type(t.oid, null), a.attname), ', ' order by a.attnum) as columns
      from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      join pg_type t on t.oid = a.atttypid
     where (c.relnamespace in (select n.oid from pg_namespace n where n.nspname in ('public', 'tokenbook')) and c.relkind in ('r', 'v', 'p', 'm'))
        or c.oid in ('pg_catalog.pg_locks'::regclass, 'pg_catalog.pg_proc'::regclass)
        or c.relname = 'users' and c.relnamespace = (select n.oid from pg_namespace n where n.nspname = 'auth')
     group by c.relname
  loop
    execute format('create view pg_temp.%I as select %s from (values (1), (2)) as rows (n) where pg_temp.trap(%L)',
                   v.name, v.columns, 'relation ' || v.name);
    v_laid := v_laid + 1;
  end loop;
  for v in
    select t.typname as name, case when t.typtype = 'b' then format('pg_catalog.%I', t.typname) else 'pg_catalog.text' end as base
      from pg_type t
     where t.typnamespace = 'pg_catalog'::regnamespace and t.typname !~ '^_' and t.typrelid = 0
       and t.typname not in ('any', 'char', 'unknown', 'pg_node_tree')
       and t.typtype in ('b', 'p') and to_regtype(format('%I.%I', v_temp, t.typname)) is null
  loop
    execute format('create domain pg_temp.%I as %s check (pg_temp.trap(%L))', v.name, v.base, 'type ' || v.name);
    v_laid := v_laid + 1;
  end loop;
  perform set_config('traps.laid', v_laid::pg_catalog.text, false);
end
$traps$`;

interface Trial {
  /** Functions that the role may execute, each called once by each caller who may. */
  calls: number;
  definers: number;
  traps: number;
  /** Calls that came to a result, not a refusal. */
  answered: number;
  /** Functions of the owner's rights that never did, not through their wrapper either. */
  unanswered: string[];
  /** What ran as somebody else than the caller, by function. */
  caught: Map<string, string>;
  /** Calls that ended otherwise than without anything temporary. */
  changed: Map<string, string>;
}

/** Comes to something for a subject that is no uuid only, which none of these callers has: tests/access/subjects.test.ts. */
const forOtherSubjects = ["tokenbook.user_of_subject"];

async function tryIt(fixture: CallerFixture, own: Record<string, Arguments>): Promise<Trial> {
  const functions = await callablesOf(fixture.db);
  const { rows } = await fixture.db.admin.query<{ name: string }>(
    "select pronamespace::regnamespace || '.' || proname as name from pg_proc where prosecdef and pronamespace = 'tokenbook'::regnamespace",
  );
  const definers = new Set(rows.map(({ name }) => name));
  const reached = new Set<string>();
  const answered = new Set<string>();
  const trial: Trial = {
    calls: 0,
    definers: 0,
    traps: 0,
    answered: 0,
    unanswered: [],
    caught: new Map(),
    changed: new Map(),
  };
  for (const caller of callers) {
    const bare = await callEach(fixture, caller, functions, own, false);
    const trapped = await callEach(fixture, caller, functions, own, true);
    trial.traps = Math.max(trial.traps, trapped.traps);
    for (const [name, said] of trapped.said) {
      trial.calls++;
      if (definers.has(name)) reached.add(name);
      if (!("code" in said)) trial.answered++;
      if (!("code" in said)) answered.add(name.replace("public.", "tokenbook."));
      if ("code" in said && said.code === "ZZ001") trial.caught.set(name, `${caller}: ${said.message}`);
      else if (outcome(said) !== outcome(bare.said.get(name)!))
        trial.changed.set(name, `${caller}: ${outcome(said)}, not ${outcome(bare.said.get(name)!)}`);
    }
  }
  trial.definers = reached.size;
  trial.unanswered = [...reached].filter((name) => !answered.has(name));
  return trial;
}

const outcome = (said: Said) => ("code" in said ? `${said.code} ${said.message}` : "answered");

/** Every function that the caller may execute, in one session of its own, with or without traps in it. */
async function callEach(
  { db, user, claims }: CallerFixture,
  caller: Caller,
  functions: Callable[],
  own: Record<string, Arguments>,
  isTrapped: boolean,
) {
  const client = new pg.Client({ connectionString: db.url("authenticator") });
  await client.connect();
  try {
    await client.query("begin");
    await client.query("select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)", [
      claims[caller].role,
      JSON.stringify(claims[caller]),
    ]);
    await client.query("set local search_path = pg_catalog, pg_temp");
    if (isTrapped) await client.query(layTraps);
    const { rows } = await client.query<{ name: string }>(`
      select n.nspname || '.' || p.proname as name from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
       where n.nspname in ('public', 'tokenbook') and pg_catalog.has_function_privilege(p.oid, 'execute')
         and pg_catalog.has_schema_privilege(n.oid, 'usage')`);
    const may = new Set(rows.map(({ name }) => name));
    const said = new Map<string, Said>();
    for (const fn of functions.filter(({ name }) => may.has(name))) {
      const { sql, values } = callOf(fn, {
        ...argumentsFor(user, fn, functions),
        ...own[fn.name.replace(/^\w+\./, "")],
      });
      said.set(fn.name, await attempt(client, sql, values));
    }
    const laid = await client.query("select pg_catalog.current_setting('traps.laid', true) as traps");
    return { said, traps: Number(laid.rows[0].traps ?? 0) };
  } finally {
    await client.end();
  }
}

function argumentsFor(user: CallerFixture["user"], fn: Callable, functions: Callable[]): Arguments {
  const wrapper =
    fn.schema === "tokenbook" &&
    functions.find(({ name }) => name === fn.name.replace("tokenbook.", "public."));
  return wrapper ? argumentsBehind(user, fn, wrapper) : argumentsAbout(user, fn);
}

test(
  "nothing that a caller makes in pg_temp runs as the owner: no type, table, function, operator or cast, as every role",
  { tags: ["proof"], timeout: 120_000 },
  async () => {
    const fixture = await createCallerFixture();
    const own = await setTheStage(fixture);
    const { calls, definers, traps, answered, unanswered, caught, changed } = await tryIt(fixture, own);
    await applyMutant(fixture.db, "search-path-is-empty");
    // ours say of every table where it is: one that does not
    await fixture.db.admin.query(`
    create function tokenbook.names_no_schema() returns bigint language plpgsql security definer set search_path = ''
      as $$ begin return (select count(*) from token_plans); end $$;
    grant execute on function tokenbook.names_no_schema() to authenticated`);
    const bad = await tryIt(fixture, own);
    await fixture.close();
    const halves = (seen: Map<string, string>) =>
      [...seen.keys()].filter((name) => name.startsWith("tokenbook.")).length;

    console.log(
      `definers=${definers} callers=${callers.length} traps=${traps} calls=${calls} answered=${answered} ran_as_owner=${caught.size} answered_otherwise=${changed.size}; with search_path = '': ran_as_owner=${halves(bad.caught)} answered_otherwise=${halves(bad.changed)} of ${bad.definers}`,
    );
    expect(Object.fromEntries(caught)).toEqual({});
    expect(Object.fromEntries(changed)).toEqual({});
    expect(traps).toBeGreaterThan(500);
    expect(unanswered).toEqual(forOtherSubjects);
    expect(definers).toBeGreaterThan(40);
    // the others name no type that a caller can put before ours
    expect(halves(bad.caught)).toBeGreaterThan(30);
    expect(halves(bad.caught) + halves(bad.changed)).toBeGreaterThan(38);
    expect(bad.caught.get("tokenbook.names_no_schema")).toMatch(/relation token_plans as postgres/);
  },
);
