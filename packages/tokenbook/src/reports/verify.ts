import Table from "cli-table3";
import type { Breach } from "../data/verification.ts";
import { duration, readable } from "../terminal/progress.ts";

/** What is printed of a verification. */
export interface VerifyReport {
  /** How many there were so far. */
  readonly breaches: number;
  add(breaches: readonly Breach[]): void;
  /** The last words; once. */
  end(run: Run): void;
}

/** How a run went. */
interface Run {
  /** How many were gone through. */
  users: number;
  /** Whether everybody was. */
  finished: boolean;
  /** The last user of those; null when everybody was, or nobody. */
  after: string | null;
}

/** How many rows a table has at most: nobody reads more, and they are kept until the end. */
const mostRows = 100;

const heads = ["invariant", "user", "grant", "transaction", "expected", "found"] as const;

/**
 * On a terminal a table at the end; elsewhere lines with tabs as breaches are found; with `json` one
 * object, written as they are found: `{breaches: [], users, finished, after}`.
 *
 * @param soundness what is said when there is no breach.
 */
export function createVerifyReport(
  out: NodeJS.WriteStream,
  json: boolean,
  soundness = "No invariant is broken",
): VerifyReport {
  const begin = performance.now();
  const shown: Breach[] = [];
  const blamed = new Set<string>();
  let breaches = 0;
  const opening = '{"breaches":[';

  return {
    get breaches() {
      return breaches;
    },
    add(found) {
      for (const breach of found) {
        if (json) out.write(`${breaches === 0 ? opening : ","}\n${JSON.stringify(asJson(breach))}`);
        else if (out.isTTY) {
          if (shown.length < mostRows) shown.push(breach);
        } else out.write(`${breaches === 0 ? `${heads.join("\t")}\n` : ""}${asLine(breach)}\n`);
        breaches++;
        if (breach.user_id !== null) blamed.add(breach.user_id);
      }
    },
    end(run) {
      if (json) {
        const { users, finished, after } = run;
        out.write(
          `${breaches === 0 ? opening : "\n"}],"users":${users},"finished":${finished},"after":${JSON.stringify(after)}}\n`,
        );
        return;
      }
      if (shown.length > 0) out.write(`${asTable(shown, out.columns)}\n`);
      if (out.isTTY && breaches > shown.length) {
        out.write(`and ${readable(breaches - shown.length)} more; --json has them all\n`);
      }
      const users = `${readable(run.users)} user${run.users === 1 ? "" : "s"}`;
      const seconds = (performance.now() - begin) / 1000;
      const time = `(${duration(seconds)}, ${readable(run.users / seconds)} users/s)`;
      if (breaches === 0) out.write(`${soundness}: ${users} ${time}.\n`);
      else {
        const what = `${readable(breaches)} breach${breaches === 1 ? "" : "es"}`;
        // beside the lines, not among them
        (out.isTTY ? out : process.stderr).write(
          `${what} in the books of ${readable(blamed.size)} of ${users} ${time}.\n`,
        );
      }
    },
  };
}

function asJson(breach: Breach) {
  const { transaction_id: number } = breach;
  return { ...breach, transaction_id: number === null ? null : Number(number) };
}

function asLine(breach: Breach): string {
  const { invariant, user_id, grant_id, transaction_id, expected, found } = breach;
  const cells = [invariant, user_id, grant_id, transaction_id, expected, found];
  return cells.map((cell) => (cell ?? "").replaceAll(/[\t\r\n]+/g, " ")).join("\t");
}

/** As wide as the terminal: the ids as they are, to be copied, the rest wrapped. */
function asTable(rows: readonly Breach[], columns: number): string {
  const ids = 38;
  const rest = Math.max(columns - ids - 5, 48);
  const invariant = Math.min(Math.floor(rest / 2), 40);
  const value = Math.min(Math.floor((rest - invariant) / 2), 48);
  const table = new Table({
    head: ["where", "invariant", "expected", "found"],
    colWidths: [ids, invariant, value, value],
    wordWrap: true,
    wrapOnWordBoundary: false, // at a word's end it would cut an id that is longer than its column
    style: { head: [], border: [] },
  });
  for (const { invariant: name, user_id, grant_id, transaction_id, expected, found } of rows) {
    const where = [
      user_id ?? "the project",
      ...(grant_id === null ? [] : [grant_id]),
      ...(transaction_id === null ? [] : [`transaction ${transaction_id}`]),
    ].join("\n");
    table.push([where, name, expected ?? "", found ?? ""]);
  }
  return table.toString();
}
