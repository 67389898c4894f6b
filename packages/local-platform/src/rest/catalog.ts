import type { Row, Statement } from "./database.ts";

/** A table or view of schema public. */
export interface Table {
  name: string;
  /** By name. */
  columns: ReadonlyMap<string, Column>;
  /** Names of the columns of its primary key, sorted; a view has none. */
  primaryKey: readonly string[];
}

export interface Column {
  name: string;
  /** As SQL writes it, length included: `numeric(10,2)`. */
  type: string;
  /** Its default as SQL, also that of an identity column that may be given. */
  default: string | null;
}

/** How the rows of one table belong to those of another. */
export interface Relationship {
  table: string;
  foreignTable: string;
  kind: "many-to-one" | "one-to-one" | "one-to-many" | "many-to-many";
  /** The foreign key behind it. */
  constraint: string;
  /** Columns that are equal: of `table` and of `foreignTable`. Empty where a junction stands between. */
  columns: readonly Pair[];
  junction?: {
    table: string;
    /** Its foreign keys to `table` and to `foreignTable`. */
    constraints: readonly [string, string];
    /** Columns of `table` and of the junction. */
    source: readonly Pair[];
    /** Columns of `foreignTable` and of the junction. */
    target: readonly Pair[];
  };
}

type Pair = readonly [own: string, foreign: string];

/** What can be read and written by name, and how it belongs together. */
export interface Catalog {
  tables: ReadonlyMap<string, Table>;
  /** By the name of `table`. */
  relationships: ReadonlyMap<string, readonly Relationship[]>;
}

/** Finds tables and views of schema public. Run it with an empty search_path, so that types come out qualified. */
export const LIST_TABLES: Statement = {
  text: `
    select c.relname as name,
           coalesce((
             select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                                               'default', case
                                                 when a.attgenerated <> '' then null
                                                 when a.attidentity = 'd' then
                                                   (select format('nextval(%L)', s.objid::regclass) from pg_catalog.pg_depend s
                                                     where s.refobjid = c.oid and s.refobjsubid = a.attnum and s.deptype = 'i'
                                                     limit 1)
                                                 when d.adbin is null then pg_get_expr(t.typdefaultbin, 0)
                                                 else pg_get_expr(d.adbin, d.adrelid)
                                               end) order by a.attnum)
               from pg_catalog.pg_attribute a
               join pg_catalog.pg_type t on t.oid = a.atttypid
               left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           ), '[]')::text as columns,
           coalesce((
             select json_agg(a.attname order by a.attname)
               from pg_catalog.pg_constraint k
               join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
              where k.conrelid = c.oid and k.contype = 'p'
           ), '[]')::text as primary_key
      from pg_catalog.pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
     order by c.relname`,
  values: [],
};

/** Finds foreign keys between tables of schema public, and whether each is unique where it stands. */
export const LIST_FOREIGN_KEYS: Statement = {
  text: `
    select k.conname as name, one.relname as "from", other.relname as "to", pairs.columns::text as columns,
           exists (
             select from pg_catalog.pg_constraint u
              where u.conrelid = k.conrelid and u.contype in ('p', 'u') and u.conkey @> k.conkey and u.conkey <@ k.conkey
           )::text as is_unique
      from pg_catalog.pg_constraint k
      join pg_catalog.pg_class one on one.oid = k.conrelid
      join pg_catalog.pg_class other on other.oid = k.confrelid
     cross join lateral (
       select json_agg(json_build_array(a.attname, b.attname) order by i) as columns
         from unnest(k.conkey, k.confkey) with ordinality as _ (own, referenced, i)
         join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = own
         join pg_catalog.pg_attribute b on b.attrelid = k.confrelid and b.attnum = referenced
     ) pairs
     where k.contype = 'f' and k.conparentid = 0
       and one.relnamespace = 'public'::regnamespace and other.relnamespace = 'public'::regnamespace
     order by k.conrelid, k.conname`,
  values: [],
};

/** Puts the rows of {@link LIST_TABLES} and {@link LIST_FOREIGN_KEYS} together. */
export function catalogOf(tables: readonly Row[], foreignKeys: readonly Row[]): Catalog {
  const known = new Map<string, Table>();
  for (const row of tables) {
    const columns = JSON.parse(row["columns"]!) as Column[];
    known.set(row["name"]!, {
      name: row["name"]!,
      columns: new Map(columns.map((column) => [column.name, column])),
      primaryKey: JSON.parse(row["primary_key"]!) as string[],
    });
  }
  const forward = foreignKeys.map((row): Relationship => ({
    table: row["from"]!,
    foreignTable: row["to"]!,
    kind: row["is_unique"] === "true" ? "one-to-one" : "many-to-one",
    constraint: row["name"]!,
    columns: JSON.parse(row["columns"]!) as Pair[],
  }));
  const relationships = new Map<string, Relationship[]>();
  for (const one of [forward, throughJunctions(forward, known), forward.map(reversed)].flat()) {
    const others = relationships.get(one.table) ?? [];
    others.push(one);
    relationships.set(one.table, others);
  }
  return { tables: known, relationships };
}

function reversed({ table, foreignTable, kind, constraint, columns }: Relationship): Relationship {
  return {
    table: foreignTable,
    foreignTable: table,
    kind: kind === "one-to-one" ? kind : "one-to-many",
    constraint,
    columns: columns.map(swapped),
  };
}

/** A table whose primary key holds two foreign keys makes a many-to-many relationship of the tables behind them. */
function throughJunctions(
  foreignKeys: readonly Relationship[],
  tables: ReadonlyMap<string, Table>,
): Relationship[] {
  const found: Relationship[] = [];
  const candidates = foreignKeys.filter(({ kind }) => kind === "many-to-one");
  for (const near of candidates) {
    for (const far of candidates) {
      if (near.table !== far.table || near.constraint === far.constraint) continue;
      const key = tables.get(near.table)?.primaryKey ?? [];
      const used = [near.columns, far.columns].flat().map(([own]) => own);
      if (!used.every((column) => key.includes(column))) continue;
      found.push({
        table: near.foreignTable,
        foreignTable: far.foreignTable,
        kind: "many-to-many",
        constraint: near.constraint,
        columns: [],
        junction: {
          table: near.table,
          constraints: [near.constraint, far.constraint],
          source: near.columns.map(swapped),
          target: far.columns.map(swapped),
        },
      });
    }
  }
  return found;
}

function swapped([own, foreign]: Pair): Pair {
  return [foreign, own];
}

/** Whether a row has at most one row at the other end. */
export function isToOne({ kind }: Relationship): boolean {
  return kind === "many-to-one" || kind === "one-to-one";
}
