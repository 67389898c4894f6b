/** What mysqldump writes: CREATE TABLE says the columns, INSERT INTO the rows, one statement a line. */

/** A row of a table, by column; values as texts. */
export interface DumpRow {
  table: string;
  row: Record<string, string | null>;
}

/** The rows of these tables, in the order of the file. */
export async function* dumpRows(
  lines: AsyncIterable<string>,
  tables: readonly string[],
): AsyncGenerator<DumpRow> {
  const columns = new Map<string, string[]>();
  let creating: string | undefined;
  for await (const line of lines) {
    const create = /^CREATE TABLE (?:IF NOT EXISTS )?`?(\w+)`?/i.exec(line);
    if (create) {
      creating = create[1]!;
      columns.set(creating, []);
    } else if (creating !== undefined) {
      const column = /^\s+`(\w+)`/.exec(line);
      if (column) columns.get(creating)!.push(column[1]!);
      else if (line.startsWith(")")) creating = undefined;
    }
    const insert = /^INSERT (?:IGNORE )?INTO `?(\w+)`?\s*(?:\(([^)]*)\)\s*)?VALUES\s*/i.exec(line);
    if (!insert || !tables.includes(insert[1]!)) continue;
    const [all, table, named] = insert;
    const names = named
      ? named.split(",").map((name) => name.trim().replaceAll("`", ""))
      : (columns.get(table!) ?? []);
    for (const values of tuples(line, all.length)) {
      yield { table: table!, row: Object.fromEntries(names.map((name, nth) => [name, values[nth] ?? null])) };
    }
  }
}

const escapes: Record<string, string> = { "0": "\0", b: "\b", n: "\n", r: "\r", t: "\t", Z: "\u001A" };

/** The tuples of `(1,'a',NULL),(2,'it\'s',3);` from a place on. */
function* tuples(line: string, from: number): Generator<(string | null)[]> {
  let at = from;
  while (line[at] === "(" || line[at] === "," || line[at] === " ") {
    if (line[at] !== "(") {
      at++;
      continue;
    }
    at++;
    const values: (string | null)[] = [];
    for (;;) {
      const text = /(?:_binary )?'/y;
      text.lastIndex = at;
      const quoted = text.exec(line);
      if (quoted) {
        const read = readText(line, at + quoted[0].length);
        values.push(read.value);
        at = read.end;
      } else {
        const end = line.slice(at).search(/[,)]/) + at;
        const word = line.slice(at, end).trim();
        values.push(/^null$/i.test(word) ? null : word);
        at = end;
      }
      if (line[at] !== ",") break;
      at++;
    }
    yield values;
    at++; // the closing bracket
  }
}

/** A quoted text whose first character is at `from`; its end is behind the quote. */
function readText(line: string, from: number): { value: string; end: number } {
  let value = "";
  for (let at = from; at < line.length; at++) {
    const sign = line[at]!;
    if (sign === "\\") {
      at++;
      value += escapes[line[at]!] ?? line[at];
    } else if (sign === "'") {
      if (line[at + 1] !== "'") return { value, end: at + 1 };
      value += "'";
      at++;
    } else value += sign;
  }
  return { value, end: line.length };
}
