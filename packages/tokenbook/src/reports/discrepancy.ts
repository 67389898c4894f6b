import Table from "cli-table3";
import { stringify } from "csv-stringify/sync";
import type { Reconciliation } from "../client/answers.ts";
import type { Discrepancy } from "../data/discrepancies.ts";
import type { Repaired } from "../data/repair.ts";

/** What a run found, and did about it. */
export interface Report {
  users: number;
  /** Findings of so many tokens or fewer were left out. */
  threshold: number;
  discrepancies: Discrepancy[];
  /** Only with --fix. */
  repairs?: Repaired[];
  /** Users who still have a discrepancy. */
  remaining: number;
}

/** For people: a row a user, the worst first, and the advice of each scenario once. */
export function asTable({ discrepancies }: Report): string {
  const table = new Table({
    head: ["user", "tokens", "expected", "difference", "used, off by", "cost, off by", "since", "findings"],
    style: { head: [], border: [] },
    colAligns: ["left", "right", "right", "right", "right", "right", "left", "left"],
  });
  for (const row of discrepancies) {
    table.push([
      row.email ?? row.user_id,
      tokens(row.current_remaining),
      tokens(row.expected_remaining),
      signed(row.remaining_difference),
      signed(row.used_difference),
      dollars(row.cost_difference),
      day(row.since),
      namesOf(row).join("\n"),
    ]);
  }
  const advice = new Map(
    discrepancies.flatMap((row) => row.findings.map((finding) => [finding.scenario, finding.advice])),
  );
  const lines = [...advice].toSorted().map(([scenario, text]) => `${scenario}: ${text}`);
  return `${table.toString()}\n\n${lines.join("\n")}`;
}

/** For people: one user, line by line. */
export function asSum(found: Reconciliation, email: string | null): string {
  const { formula } = found;
  const table = new Table({
    style: { head: [], border: [] },
    colAligns: ["left", "right"],
    // no lines between lines: it is one sum
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  const line = (label: string, value: unknown, sign = 1) => {
    if (Number(value ?? 0) !== 0) table.push([label, tokens(sign * Number(value))]);
  };
  line("settled by the last repair", formula["start"]);
  line("+ granted", formula["granted"]);
  line("+ granted by an admin", formula["admin_granted"]);
  line("- used", formula["tokens_used"], -1);
  line("- deducted by an admin", formula["admin_deducted"], -1);
  line("- expired", formula["expired"], -1);
  line("- clawed back", formula["clawed_back"], -1);
  line("+ other entries", formula["other"]);
  line("- set aside", formula["reserved"], -1);
  table.push(
    ["= expected", tokens(found.expected_remaining)],
    ["current", tokens(found.current_remaining)],
    ["difference", signed(found.remaining_difference)],
    ["used: current, calculated", `${tokens(found.current_used)}, ${tokens(found.calculated_used)}`],
    ["cost: current, calculated", `${dollars(found.current_cost)}, ${dollars(found.calculated_cost)}`],
  );
  if (found.counters_before_the_books) {
    const counters = found.counters_before_the_books;
    table.push([
      "the old counters: remaining, used",
      `${tokens(counters.tokens_remaining)}, ${tokens(counters.tokens_used)}`,
    ]);
  }
  const findings = found.findings.map(
    (finding) =>
      `${finding.scenario}: ${finding.cents === undefined ? `${tokens(finding.tokens)} tokens` : dollars(finding.cents)}` +
      `${finding.since ? ` since ${day(finding.since)}` : ""} (${finding.cause.replaceAll("_", " ")})\n  ${finding.advice}`,
  );
  return `${email ?? "(no address)"}  ${found.user_id}\n${table.toString()}\n\n${findings.join("\n") || "No discrepancy."}`;
}

/** For machines: everything, costs in cents. */
export function asJson(report: Report): string {
  return JSON.stringify(report, undefined, 2);
}

/** For spreadsheets, which take a text that begins with = + - @ for a formula: such texts are escaped. */
export function asCsv({ discrepancies, repairs }: Report): string {
  const repaired = new Map(repairs?.map((row) => [row.user_id, row]));
  return stringify(
    discrepancies.map(({ findings, ...row }) => ({
      ...row,
      scenarios: [...new Set(findings.map((finding) => finding.scenario))].join(" "),
      ...(repairs && {
        repaired: repaired.get(row.user_id)?.delta ?? 0,
        outcome: repaired.get(row.user_id)?.outcome ?? "",
      }),
    })),
    {
      header: true,
      columns: [...csvColumns, ...(repairs ? ["repaired", "outcome"] : [])],
      escape_formulas: true,
    },
  ).trimEnd();
}

const csvColumns = [
  "user_id",
  "email",
  "current_remaining",
  "expected_remaining",
  "remaining_difference",
  "current_used",
  "calculated_used",
  "used_difference",
  "current_cost",
  "calculated_cost",
  "cost_difference",
  "since",
  "scenarios",
];

function namesOf(row: Discrepancy): string[] {
  return [...new Set(row.findings.map(({ scenario }) => scenario))].toSorted();
}

function tokens(count: number): string {
  return count.toLocaleString("en");
}

function signed(count: number): string {
  return `${count > 0 ? "+" : ""}${tokens(count)}`;
}

function dollars(cents: number): string {
  return (cents / 100).toLocaleString("en", { style: "currency", currency: "USD" });
}

function day(moment: string | null): string {
  return moment?.slice(0, 10) ?? "";
}
