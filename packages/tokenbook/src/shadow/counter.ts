/** A counter that a project keeps in a column of its own: where it is, and what can stand in it. */
import pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import { userColumnOf, userProfiles } from "../import/sources.ts";
import { asSource, readSource } from "../install/uses.ts";

/** Where a counter is, in names. */
export interface Place {
  schema: string;
  table: string;
  userColumn: string;
  amountColumn: string;
}

/** A counter that is there; everything of it is quoted, to stand in a statement. */
export interface Counter {
  /** `public.profiles`. */
  table: string;
  /** The columns, of `t`, as which a statement names the table. */
  user: string;
  amount: string;
  /** The amount's name alone. */
  column: string;
  /** What the amount counts for: NULL and what is no number are nothing. */
  value: string;
  /** Whose a row is, as text; and whether it is the user `u` of auth.users. */
  whose: string;
  isUser: string;
  userType: string;
  /** The amount's type. */
  type: string;
  /** How many digits a value of it has behind the point; below zero: how many before it are noughts. */
  scale: number;
  /** Whether it has a number only as near as it can. */
  isFloat: boolean;
  /** The most that can stand in it; null: anything. */
  most: string | null;
  isWritable: boolean;
}

const { escapeIdentifier: quoted } = pg;

/** The number types, and the most that can stand in one without a precision of its own. */
const numbers: Record<string, string | null> = {
  smallint: "32767",
  integer: "2147483647",
  bigint: "9223372036854775807",
  numeric: null,
  real: null,
  "double precision": null,
};

/**
 * What `--from` names: `profiles.credits`, or `user_profiles`.
 *
 * @returns what the import calls it in the ledger, and where it is.
 * @throws Failure when it is no column, or nothing says whose a row is.
 */
export async function findPlace(
  client: SqlClient,
  from: string,
  userColumn: string | undefined,
): Promise<Place & { source: string }> {
  if (/^(token_balances(=.*)?|csv|stripe-credits|mysql-dump)$/.test(from)) {
    throw new Failure(`${from} is no counter: a shadow follows <table>.<column>, or user_profiles.`);
  }
  const isProfiles = from === "user_profiles";
  const { schema, table, column } = isProfiles ? userProfiles : readSource(from);
  return {
    source: isProfiles ? from : asSource({ schema, table, column }),
    schema,
    table,
    amountColumn: column,
    userColumn: await userColumnOf(client, { schema, table, column }, userColumn),
  };
}

/**
 * The counter at that place; undefined, when its table or one of the columns is gone.
 *
 * @throws Failure when it is nothing that could be followed.
 */
export async function findCounter(client: SqlClient, place: Place): Promise<Counter | undefined> {
  const [found] = await select<{
    kind: string;
    table: string;
    type: string;
    modifier: number;
    written: string;
    user_type: string;
    generated: string;
    has_parts: boolean;
  }>(
    client,
    `select c.relkind::text as kind, format('%I.%I', n.nspname, c.relname) as table,
            format_type(a.atttypid, null) as type, a.atttypmod as modifier, format_type(a.atttypid, a.atttypmod) as written,
            format_type(u.atttypid, null) as user_type, case when a.attgenerated <> '' or a.attidentity = 'a' then 'always' else '' end as generated,
            c.relkind = 'p' or exists (select from pg_inherits i where c.oid in (i.inhrelid, i.inhparent)) as has_parts
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid and a.attname = $3 and a.attnum > 0 and not a.attisdropped
       join pg_attribute u on u.attrelid = c.oid and u.attname = $4 and u.attnum > 0 and not u.attisdropped
      where n.nspname = $1 and c.relname = $2`,
    [place.schema, place.table, place.amountColumn, place.userColumn],
  );
  if (found === undefined) return undefined;
  const name = `${place.schema}.${place.table}`;
  if (!["r", "p"].includes(found.kind)) throw new Failure(`${name} is no table: nothing can be put on it.`);
  if (found.has_parts) {
    throw new Failure(
      `${name} is partitioned, or one of several tables of which each is part: a statement that names a part passes the triggers of the others, so it cannot be followed. Import it, and switch at once.`,
    );
  }
  if (!(found.type in numbers)) {
    throw new Failure(
      `${name}.${place.amountColumn} is ${found.type}, and no number: a shadow follows ${Object.keys(numbers).join(", ")}.`,
    );
  }
  if (!["uuid", "text", "character varying"].includes(found.user_type)) {
    throw new Failure(
      `${name}.${place.userColumn} is ${found.user_type}: whose a row is must be an id of auth.users.`,
    );
  }
  const precision = found.modifier < 0 ? undefined : ((found.modifier - 4) >> 16) & 0xffff;
  // eleven bits with a sign
  const digits = found.modifier < 0 ? undefined : (((found.modifier - 4) & 0x7ff) ^ 0x400) - 0x400;
  const isWhole = ["smallint", "integer", "bigint"].includes(found.type);
  const isFloat = ["real", "double precision"].includes(found.type);
  const [user, amount] = [`t.${quoted(place.userColumn)}`, `t.${quoted(place.amountColumn)}`];
  return {
    table: found.table,
    user,
    amount,
    column: quoted(place.amountColumn),
    // through text: a cast of real to numeric keeps six digits
    value: `coalesce(nullif(nullif(nullif(${amount}::text::numeric, 'NaN'), 'Infinity'), '-Infinity'), 0)`,
    whose: `lower(${user}::text)`,
    isUser: found.user_type === "uuid" ? `u.id = ${user}` : `u.id::text = lower(${user})`,
    userType: found.user_type,
    type: found.written,
    // without a scale of its own: finer than a token is anywhere
    scale: isWhole ? 0 : isFloat ? 6 : (digits ?? 10),
    isFloat,
    most: precision === undefined ? numbers[found.type]! : `1e${precision - digits!} - 1e${-digits!}`,
    isWritable: found.generated === "",
  };
}
