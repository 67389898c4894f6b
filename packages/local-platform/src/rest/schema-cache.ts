/** What the API knows about the database's schema, kept current. */
export interface SchemaCache<T> {
  get(): Promise<T>;
  /** Looks at the database now: for a name that was not found and may have been created a moment ago. */
  refresh(): Promise<T>;
}

/** For so long the cache is believed without a look at the database, in milliseconds. */
const BELIEVED_MS = 250;

/**
 * Loads once and again whenever the fingerprint has changed.
 *
 * PostgREST is told of changes by an event trigger, which only a superuser can create; asking is
 * cheap here, and a migration under a running server is seen all the same.
 */
export function createSchemaCache<T>(
  fingerprint: () => Promise<string>,
  load: (fingerprint: string) => Promise<T>,
): SchemaCache<T> {
  let known: { fingerprint: string; value: T } | undefined;
  let checkedAt = 0;
  let looking: Promise<T> | undefined;

  async function look(): Promise<T> {
    const current = await fingerprint();
    if (known?.fingerprint !== current) known = { fingerprint: current, value: await load(current) };
    checkedAt = Date.now();
    return known.value;
  }

  function refresh(): Promise<T> {
    looking ??= look().finally(() => (looking = undefined));
    return looking;
  }

  return {
    async get() {
      if (known !== undefined && Date.now() - checkedAt < BELIEVED_MS) return known.value;
      return await refresh();
    },
    refresh,
  };
}

/** Changes whenever a function, table, view, column, constraint or right of schema public does. */
export const FINGERPRINT = {
  text: `
    select concat(
      (select sum(pg_catalog.hashtextextended(concat(oid, xmin), 0)) from pg_catalog.pg_proc
        where pronamespace = 'public'::regnamespace), ' ',
      (select sum(pg_catalog.hashtextextended(concat(oid, xmin), 0)) from pg_catalog.pg_class
        where relnamespace = 'public'::regnamespace), ' ',
      (select sum(pg_catalog.hashtextextended(concat(attrelid, attnum, a.xmin), 0)) from pg_catalog.pg_attribute a
         join pg_catalog.pg_class c on c.oid = attrelid
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')), ' ',
      (select sum(pg_catalog.hashtextextended(concat(oid, xmin), 0)) from pg_catalog.pg_constraint
        where connamespace = 'public'::regnamespace), ' ',
      (select sum(pg_catalog.hashtextextended(concat(setrole, xmin), 0)) from pg_catalog.pg_db_role_setting)
    ) as fingerprint`,
  values: [],
};
