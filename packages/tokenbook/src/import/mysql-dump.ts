/** What mysqldump and mariadb-dump write: CREATE TABLE says the columns, INSERT INTO or REPLACE INTO the rows. */
import { Failure } from "local-platform/terminal/failure";
import { readTokens, type Token } from "./mysql-tokens.ts";

/** A row of a table, by column; values as texts. */
export interface DumpRow {
  table: string;
  row: Record<string, string | null>;
}

/**
 * The rows of these tables, in the order of the file. However long a statement is, a piece of the file and its rows are held.
 *
 * @param tables which, and the columns that each must have.
 * @param path for people.
 * @param notes what is to be said of it is added to them.
 * @throws Failure when it is cut off, or a statement about one of these tables cannot be understood.
 */
export async function* dumpRows(
  pieces: AsyncIterable<string>,
  tables: Readonly<Record<string, readonly string[]>>,
  path: string,
  notes: string[],
): AsyncGenerator<DumpRow> {
  const rows: DumpRow[] = [];
  const statements = readStatements(tables, path, rows);
  /** What the dump's first lines begin, and its last lines end. */
  const open = new Set<"dump" | "settings">();
  let isMarked = false;
  const tokens = readTokens((token) => {
    if (token.kind !== "comment") {
      statements.take(token);
      return;
    }
    if (/^-- (MySQL|MariaDB) dump /.test(token.value)) open.add("dump");
    else if (token.value.startsWith("-- Dump completed")) isMarked = open.delete("dump") || isMarked;
    else if (/=@OLD_\w/.test(token.value)) isMarked = open.delete("settings") || isMarked;
    else if (/@OLD_\w+=/.test(token.value)) open.add("settings");
  });
  for await (const piece of pieces) {
    tokens.write(piece);
    yield* rows.splice(0);
  }
  const isOver = tokens.end() && statements.isBetween();
  if (!isOver || open.size > 0) {
    throw new Failure(
      `${path} is cut off: ${isOver ? "the last lines that mysqldump writes are not there" : "it ends in the middle of a statement"}. Nothing was changed.`,
    );
  }
  yield* rows.splice(0);
  if (!isMarked)
    notes.push("nothing in the file says where the dump ends (--compact): whether it is whole was not seen");
}

/** Words that begin what is no column in a CREATE TABLE. */
const noColumn = /^(primary|unique|key|index|constraint|fulltext|spatial|check|foreign|period)$/i;

/** Statement by statement; the rows come to `rows`. */
function readStatements(
  tables: Readonly<Record<string, readonly string[]>>,
  path: string,
  rows: DumpRow[],
): { take(token: Token): void; isBetween(): boolean } {
  const columns = new Map<string, string[]>();
  /** What a statement begins with, until it is known what it is. */
  let head: Token[] = [];
  let part: "head" | "columns" | "values" | "other" = "head";
  let table = "";
  let depth = 0;
  let names: string[] = [];
  let values: (string | null)[] = [];
  let value: Token[] = [];
  let nth = 0;
  let database = "";
  /** Of each table, whose rows are taken. */
  const of = new Map<string, string>();

  const refuse = (why: string) => new Failure(`${path}, table ${table}: ${why} Nothing was changed.`);
  const isSign = (token: Token, sign: string) => token.kind === "sign" && token.value === sign;
  const word = (token: Token | undefined) => (token?.kind === "word" ? token.value.toLowerCase() : "");

  function begin(token: Token): void {
    const isOutside = !head.some((one) => isSign(one, "(")) || isSign(head.at(-1)!, ")");
    head.push(token);
    const first = word(head[0]);
    if (first === "create" && isSign(token, "(")) {
      part = "other";
      if (head.slice(1, 4).some((one) => word(one) === "table")) {
        table = nameOf(head.slice(0, -1));
        if (table in tables) {
          columns.set(table, []);
          part = "columns";
          value = [];
        }
      }
      depth = 1;
    } else if ((first === "insert" || first === "replace") && isOutside && /^values?$/.test(word(token))) {
      const open = head.findIndex((one) => isSign(one, "("));
      const end = open < 0 ? head.length - 1 : open;
      table = nameOf(head.slice(0, end));
      part = table in tables ? "values" : "other";
      if (part === "other") return;
      if ((of.get(table) ?? database) !== database)
        throw refuse("two databases in the file have one: dump one of them.");
      of.set(table, database);
      const named =
        open < 0 ? undefined : head.slice(open).filter(({ kind }) => kind === "name" || kind === "word");
      names = named?.slice(0, -1).map((one) => one.value.toLowerCase()) ?? columns.get(table) ?? [];
      if (names.length === 0) {
        throw refuse(
          "the dump says nowhere which columns it has: write it again without --no-create-info, or with --complete-insert.",
        );
      }
      const missing = tables[table]!.find((name) => !names.includes(name));
      if (missing !== undefined) throw refuse(`there is no column ${missing}.`);
      depth = 0;
      nth = 0;
    } else if (
      (first === "insert" || first === "replace") &&
      isOutside &&
      /^(set|select)$/.test(word(token))
    ) {
      table = nameOf(head.slice(0, -1));
      if (table in tables)
        throw refuse(`an ${first.toUpperCase()} … ${token.value} is no row that can be read here.`);
      part = "other";
    } else if (first === "use" && head.length === 2) database = token.value;
    else if (!["create", "insert", "replace", "use"].includes(first) || head.length > 10_000) part = "other";
  }

  function takeColumn(token: Token): void {
    if (isSign(token, "(")) depth++;
    else if (isSign(token, ")")) depth--;
    if (depth === 0 || (depth === 1 && isSign(token, ","))) {
      const [first] = value;
      if (first && (first.kind === "name" || !noColumn.test(first.value)))
        columns.get(table)!.push(first.value.toLowerCase());
      value = [];
      if (depth === 0) part = "other";
    } else if (value.length < 1) value.push(token);
  }

  function takeValue(token: Token): void {
    if (depth === 0) {
      if (isSign(token, "(")) {
        depth = 1;
        values = [];
        value = [];
        nth++;
      } else if (nth > 0 && /^(on|as)$/.test(word(token))) part = "other";
      else if (!isSign(token, ",")) throw refuse(`row ${nth + 1} of an INSERT begins with ${token.value}.`);
      return;
    }
    if (depth === 1 && (isSign(token, ",") || isSign(token, ")"))) {
      if (value.length === 0) throw refuse(`row ${nth} of an INSERT has an empty value.`);
      values.push(valueOf(value));
      value = [];
      if (isSign(token, ",")) return;
      if (values.length !== names.length) {
        throw refuse(`row ${nth} of an INSERT has ${values.length} values for ${names.length} columns.`);
      }
      rows.push({ table, row: Object.fromEntries(names.map((name, at) => [name, values[at]!])) });
      depth = 0;
      return;
    }
    if (isSign(token, "(")) depth++;
    else if (isSign(token, ")")) depth--;
    if (value.length < 100) value.push(token);
  }

  return {
    take(token) {
      if (isSign(token, ";") && (depth === 0 || part === "other")) {
        part = "head";
        head = [];
        depth = 0;
        return;
      }
      if (part === "head") begin(token);
      else if (part === "columns") takeColumn(token);
      else if (part === "values") takeValue(token);
    },
    isBetween: () => part === "head" && head.length === 0,
  };
}

/** The table that is named last: of `db`.`users` it is users. */
function nameOf(head: readonly Token[]): string {
  const last = head.at(-1)!;
  return last.kind === "name" ? last.value : last.value.replace(/^.*\./, "");
}

function valueOf(tokens: readonly Token[]): string | null {
  const last = tokens.at(-1)!;
  if (last.kind === "text") return last.value; // what is before it says its character set
  if (tokens.length === 1 && last.kind === "word" && /^null$/i.test(last.value)) return null;
  return tokens.map((token) => token.value).join("");
}
