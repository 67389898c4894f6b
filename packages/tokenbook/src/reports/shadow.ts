/** What `tokenbook shadow` found, for people. */
import Table from "cli-table3";
import { inShell } from "../install/uses.ts";
import { areBooksRight, type Behind, type Shadow } from "../data/shadow.ts";
import type { Booked } from "../shadow/book.ts";
import type { Comparison } from "../shadow/differences.ts";
import type { Written } from "../shadow/keep-in-step.ts";
import { count, duration, readable } from "../terminal/progress.ts";

/** A run's work, and the comparison after it. */
export type ShadowReport = Booked &
  Comparison & {
    source: string;
    /** `none`: no shadow runs, it was compared and nothing else. */
    mode: Shadow["mode"] | "none";
    times: string;
    /** Whether anybody's balance was imported from it. */
    imported: boolean;
    not_booked: Behind;
    /** How many balances were written into the counter. */
    written: number;
    not_written: Written["failed"];
  };

/** How many differences people get to see. */
const mostShown = 20;

/** Once the books are right: what the column's readers depend on. */
const keepRunning = "keep npx tokenbook shadow --watch running until the column is dropped";

const modes: Record<ShadowReport["mode"], string> = {
  none: "is not followed: it was compared with the books, and nothing else",
  shadow: "is right, and the books follow it",
  writable: "is kept in step by runs with the books, which are right; what is written there is booked",
  read_only: "is kept in step by runs with the books, which are right; what is written there is refused",
};

export function shadowText(report: ShadowReport): string {
  const { source, mode, not_booked, differing, differences } = report;
  return [
    `${source} ${modes[mode]}.`,
    ...(mode === "none"
      ? []
      : [
          `  booked      ${count(report.booked, "change")}: ${readable(report.granted)} tokens granted, ${readable(report.spent)} spent${report.owed > 0 ? `, ${readable(report.owed)} owed` : ""}`,
          ...(report.unknown > 0
            ? [`  left out    ${count(report.unknown, "change")} of users who are not in auth.users`]
            : []),
          ...(areBooksRight(mode) ? [`  written     the balances of ${count(report.written, "user")}`] : []),
          ...report.not_written.map(({ user, why }) => `  not written ${user}: ${why}`),
          `  waiting     ${count(not_booked.changes, "change")}${not_booked.oldest === null ? "" : `, the oldest of ${duration(not_booked.oldest)} ago`}${not_booked.failed > 0 ? `; ${readable(not_booked.failed)} could not be booked` : ""}`,
        ]),
    `  compared    ${count(report.users, "user")}`,
    ...nextOf(report),
    differing === 0
      ? "No difference."
      : `${count(differing, "user")} ${differing === 1 ? "differs" : "differ"}:\n${tableOf(differences)}${differing > mostShown ? `\nand ${readable(differing - mostShown)} more${differing > differences.length ? `; --json has the largest ${readable(differences.length)}` : "; --json has them all"}` : ""}`,
  ].join("\n");
}

/** What is to be done, where something is. */
function nextOf({ mode, source, imported, not_booked }: ShadowReport): string[] {
  const next: string[] = [];
  if (mode === "none") {
    next.push(
      imported
        ? `to follow it: npx tokenbook shadow --from ${inShell(source)} --start (an app that calls Tokenbook for what it writes there: npx tokenbook switch --from ${inShell(source)})`
        : `nobody was imported: npx tokenbook import --from ${inShell(source)}`,
    );
  }
  if (not_booked.failed > 0) {
    next.push("once the counter is right: npx tokenbook shadow --start takes what it has now");
  }
  if (areBooksRight(mode)) next.push(keepRunning);
  return next.map((one) => `  next        ${one}`);
}

/** In a line: which counter, and how far behind. */
export function shadowLine({
  source,
  mode,
  changes,
  oldest,
  failed,
  keptAt,
  fault,
  way,
  not_written,
}: Shadow & Behind & { not_written?: number }): string {
  const behind =
    changes === 0
      ? "nothing waits to be booked"
      : `${count(changes, "change")} not booked yet, the oldest of ${duration(oldest ?? 0)} ago`;
  const failures = failed > 0 ? `, ${readable(failed)} could not be` : "";
  if (fault !== null) return `${fault}; ${behind}${failures}. What to do: ${way}`;
  const kept = areBooksRight(mode)
    ? `; ${keptAt === null ? "no run has written the balances there" : `the last run that wrote the balances there: ${duration(Math.max(0, (Date.now() - Date.parse(keptAt)) / 1000))} ago`}${not_written === undefined ? "" : `, ${count(not_written, "balance")} not written yet`}; ${keepRunning}`
    : "";
  return `${source} ${modes[mode]}; ${behind}${failures}${kept}`;
}

function tableOf(differences: Comparison["differences"]): string {
  const shown = differences.slice(0, mostShown);
  const waits = shown.some(({ to_book }) => to_book !== 0);
  const table = new Table({
    head: ["user", "counter", "in tokens", "books", ...(waits ? ["waiting"] : []), "difference", "why"],
    style: { head: [], border: [] },
    colAligns: ["left", "right", "right", "right", ...(waits ? ["right" as const] : []), "right", "left"],
  });
  for (const one of shown) {
    table.push([
      one.user,
      one.counter,
      readable(one.counter_tokens),
      readable(one.books),
      ...(waits ? [signed(one.to_book)] : []),
      signed(one.difference),
      one.reasons.join("\n"),
    ]);
  }
  return table.toString();
}

const signed = (tokens: number): string => `${tokens > 0 ? "+" : ""}${readable(tokens)}`;
