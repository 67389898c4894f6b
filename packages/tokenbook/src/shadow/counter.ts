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
const userTypes = ["uuid", "text", "character varying"];

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
 * What is at that place: the counter, where its columns are what a counter's are, and why it cannot be followed, where it
 * cannot. Asked each time: the project may alter what is its own.
 */
export async function examineCounter(
  client: SqlClient,
  place: Place,
): Promise<{ counter?: Counter; fault: string | null }> {
  const [found] = await select<{
    relation: string;
    amount_type: string | null;
    amount_modifier: number;
    amount_written: string;
    user_type: string | null;
    is_writable: boolean;
    fault: string | null;
  }>(
    client,
    "select e.* from tokenbook.examine_counter(to_regclass(format('%I.%I', $1::text, $2::text)), $3, $4) e",
    [place.schema, place.table, place.userColumn, place.amountColumn],
  );
  if (found === undefined)
    return { fault: `${asSource({ schema: place.schema, table: place.table })} is gone` };
  const { amount_type: type, amount_modifier: modifier, user_type: userType, fault } = found;
  if (type === null || !(type in numbers) || userType === null || !userTypes.includes(userType))
    return { fault };
  const precision = modifier < 0 ? undefined : ((modifier - 4) >> 16) & 0xffff;
  // eleven bits with a sign
  const digits = modifier < 0 ? undefined : (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400;
  const isWhole = ["smallint", "integer", "bigint"].includes(type);
  const isFloat = ["real", "double precision"].includes(type);
  const [user, amount] = [`t.${quoted(place.userColumn)}`, `t.${quoted(place.amountColumn)}`];
  const counter: Counter = {
    table: found.relation,
    user,
    amount,
    column: quoted(place.amountColumn),
    // through text: a cast of real to numeric keeps six digits
    value: `coalesce(nullif(nullif(nullif(${amount}::text::numeric, 'NaN'), 'Infinity'), '-Infinity'), 0)`,
    whose: `lower(${user}::text)`,
    isUser: userType === "uuid" ? `u.id = ${user}` : `u.id::text = lower(${user})`,
    userType,
    type: found.amount_written,
    // without a scale of its own: finer than a token is anywhere
    scale: isWhole ? 0 : isFloat ? 6 : (digits ?? 10),
    isFloat,
    most: precision === undefined ? numbers[type]! : `1e${precision - digits!} - 1e${-digits!}`,
    isWritable: found.is_writable,
  };
  return { counter, fault };
}

/**
 * The counter at that place.
 *
 * @throws Failure when it is gone, or nothing that could be followed.
 */
export async function findCounter(client: SqlClient, place: Place): Promise<Counter> {
  const { counter, fault } = await examineCounter(client, place);
  if (fault !== null) throw new Failure(`${fault}.`);
  return counter!;
}
